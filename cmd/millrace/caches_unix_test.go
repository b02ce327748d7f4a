//go:build unix

package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"

	"github.com/millrace/millrace/internal/hls/hlscheck"
	"github.com/millrace/millrace/internal/token"
)

// example is a configuration of examples/cache, with what replace says in the place of
// its addresses and folders.
func example(t *testing.T, name string, replace ...string) (file string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../examples/cache", name))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(string(text), replace[i]) {
			t.Fatalf("examples/cache/%s has no %q", name, replace[i])
		}
	}
	file = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(strings.NewReplacer(replace...).Replace(string(text))), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// nginxCache is nginx with its example in front of servers, the first of which is the
// example's.
func nginxCache(t *testing.T, servers []string, address string) *exec.Cmd {
	dir := t.TempDir()
	file := example(t, "nginx.conf", "listen 80;", "listen "+address+";", "127.0.0.1:8080", strings.Join(servers, "; server "),
		"/var/cache/nginx/millrace", filepath.Join(dir, "media"), "/var/cache/nginx/authorized", filepath.Join(dir, "authorized"),
		"http {", "http { access_log off; "+temporaryFolders(dir))
	return nginxProgram(file, dir)
}

// temporaryFolders has nginx keep below dir what it does not keep in memory.
func temporaryFolders(dir string) (settings string) {
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		settings += fmt.Sprintf("%s_temp_path %s/%s; ", kind, dir, kind)
	}
	return settings
}

func nginxProgram(file, dir string) *exec.Cmd {
	global := "daemon off; error_log stderr; pid " + filepath.Join(dir, "pid") + ";"
	if os.Getuid() == 0 {
		global += " user root;"
	}
	return exec.Command("/usr/sbin/nginx", "-c", file, "-p", dir, "-g", global)
}

// varnishCache is Varnish, as nginxCache.
func varnishCache(t *testing.T, servers []string, address string) *exec.Cmd {
	var more, added string
	for i, server := range servers[1:] {
		host, port, _ := strings.Cut(server, ":")
		more += fmt.Sprintf("backend more%d { .host = %q; .port = %q; }\n", i, host, port)
		added += fmt.Sprintf(" nodes.add_backend(more%d, 1);", i)
	}
	file := example(t, "varnish.vcl", `"8080"`, `"`+servers[0][strings.LastIndexByte(servers[0], ':')+1:]+`"`,
		"sub vcl_init {", more+"sub vcl_init {", "add_backend(millrace, 1);", "add_backend(millrace, 1);"+added)
	return exec.Command("/usr/sbin/varnishd", "-F", "-j", "none", "-n", t.TempDir(), "-f", file, "-a", address, "-s", "malloc,64m")
}

// Both caches of the examples serve a private channel, with low latency, to those who
// may have it: viewers get the bytes that the first of them fetched, they count, and who
// is revoked gets no more.
func TestCaches(t *testing.T) {
	t.Parallel() // it mostly waits
	p := startPrivate(t, testInputs, "--trusted-proxies", "127.0.0.1")
	for name, start := range map[string]startFront{"nginx": nginxCache, "Varnish": varnishCache} {
		t.Run(name, func(t *testing.T) {
			own := p
			own.t = t
			c := cache{own, name, start.run(t, name, []string{strings.TrimPrefix(p.api, "http://")})}
			c.testLowLatency(t)
			c.testViewers(t)
			c.testRefused(t)
		})
	}
}

// A cache is in front of a private channel.
type cache struct {
	private
	name    string
	address string
}

// start starts playback through the cache, and returns the media playlist.
func (c cache) start(viewer string) (media string) {
	return c.through(c.private.start(token.Claims{ViewerID: c.name + viewer}))
}

func (c cache) through(url string) string { return strings.Replace(url, c.api, "http://"+c.address, 1) }

// testLowLatency follows the stream as a player does, and has two viewers wait for the
// same part, who report to the server with their requests.
func (c cache) testLowLatency(t *testing.T) {
	ctx, stop := context.WithTimeout(t.Context(), 4*time.Second)
	defer stop()
	report, err := (&hlscheck.Follower{HTTP: http.DefaultClient}).Follow(ctx, c.through(c.url(token.Claims{})))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range report.Problems {
		if !p.Warning && p.Rule != "stale" { // the machine may be busy
			t.Errorf("%v %s: %s %s", p.At, p.Rule, p.Text, p.URL)
		}
	}
	if report.Media == 0 {
		t.Errorf("%+v", report)
	}

	viewers := []string{c.start("first"), c.start("second")}
	list, _, _ := listed(t, viewers[0])
	first, err := strconv.Atoi(mediaSequence.FindStringSubmatch(list.body)[1])
	if err != nil {
		t.Fatal(err)
	}
	next := first + strings.Count(list.body, "#EXTINF") + 1 // behind the segment that grows
	position := fmt.Sprintf("_HLS_msn=%d&_HLS_part=0", next)
	var answers [2]answer
	var waiting sync.WaitGroup
	for i, v := range viewers {
		waiting.Go(func() {
			var err error
			if answers[i], err = tryAsk(t.Context(), "GET", fmt.Sprintf("%s?CMCD=bl%%3D%d00&%s", v, 10+i, position)); err != nil {
				t.Error(err)
			}
		})
	}
	waiting.Wait()
	for _, a := range answers {
		if _, part := uris(a.body); a.status != http.StatusOK || part == "" {
			t.Fatalf("the playlist that was waited for = %d:\n%s", a.status, a.body)
		}
	}
	late := ask(t, "GET", viewers[1]+"?CMCD=bl%3D900&"+position)
	if late.header.Get("X-Cache") != "HIT" || late.body != answers[0].body && late.body != answers[1].body {
		t.Errorf("who asks later for the same gets %d, from the cache: %q\n%s", late.status, late.header.Get("X-Cache"), late.body)
	}
	_, part := uris(late.body)
	for i, v := range viewers {
		if a := ask(t, "GET", folderOf(v)+part); a.status != http.StatusOK || (i == 1) != (a.header.Get("X-Cache") == "HIT") {
			t.Errorf("viewer %d: the part = %d, from the cache: %q", i, a.status, a.header.Get("X-Cache"))
		}
	}
}

// testViewers has viewers fetch the same media: it comes from the cache once somebody
// has fetched it, and each of them counts.
func (c cache) testViewers(t *testing.T) {
	const viewers = 5
	hits, all := 0, 0
	fetch := func(media string) {
		t.Helper()
		list, _, _ := listed(t, media)
		for _, segment := range segmentName.FindAllString(list.body, 2) {
			a := ask(t, "GET", folderOf(media)+segment)
			if a.status != http.StatusOK {
				t.Errorf("%s = %d", segment, a.status)
			}
			if all++; a.header.Get("X-Cache") == "HIT" {
				hits++
			}
		}
	}
	var watched []string
	for i := range viewers {
		watched = append(watched, c.start(fmt.Sprint("counted", i)))
		fetch(watched[i])
	}
	t.Logf("%d of %d segments came from the cache", hits, all)
	if hits < all/2 {
		t.Errorf("%d of %d segments came from the cache", hits, all)
	}
	wait(t, "the viewers to count", func() bool {
		for _, media := range watched { // on a slow machine those who have fetched nothing for long count no more
			fetch(media)
		}
		var out struct{ Viewers []struct{ ViewerID string } }
		c.ask("GET", "/_millrace/channels/"+after(*c.channel.Arn, ":channel/")+"/viewers", "", &out)
		counted := 0
		for _, v := range out.Viewers {
			if strings.HasPrefix(v.ViewerID, c.name+"counted") {
				counted++
			}
		}
		return counted == viewers
	})
}

// testRefused asks the cache for what it has, as those who may not have it.
func (c cache) testRefused(t *testing.T) {
	first, second := c.start("revoked"), c.start("stays")
	_, segment, _ := listed(t, first)
	a, b := ask(t, "GET", folderOf(first)+segment), ask(t, "GET", folderOf(second)+segment)
	if a.status != http.StatusOK || b.status != http.StatusOK || a.body != b.body || b.header.Get("X-Cache") != "HIT" {
		t.Fatalf("the first got %d, the second %d, %q", a.status, b.status, b.header.Get("X-Cache"))
	}
	if list := ask(t, "GET", second); list.status != http.StatusOK || !strings.HasPrefix(list.body, "#EXTM3U") {
		t.Errorf("the playlist = %d %s", list.status, list.body)
	}
	if s := ask(t, "GET", folderOf(strings.TrimSuffix(first, "/source/playlist.m3u8"))+"x/"+segment); s.status != http.StatusForbidden {
		t.Errorf("another address = %d", s.status)
	}
	parts := strings.Split(folderOf(first)+segment, "/")
	parts[len(parts)-4] = strings.Repeat("A", 64)
	if s := ask(t, "GET", strings.Join(parts, "/")); s.status != http.StatusForbidden {
		t.Errorf("a session that was made up = %d", s.status)
	}
	if _, err := c.ivs().StartViewerSessionRevocation(t.Context(), &awsivs.StartViewerSessionRevocationInput{ChannelArn: c.channel.Arn, ViewerId: aws.String(c.name + "revoked")}); err != nil {
		t.Fatal(err)
	}
	wait(t, "the first viewer to be refused", func() bool { return ask(t, "GET", folderOf(first)+segment).status == http.StatusForbidden })
	if s := ask(t, "GET", folderOf(second)+segment); s.status != http.StatusOK {
		t.Errorf("the second viewer = %d", s.status)
	}
}
