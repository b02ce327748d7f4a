//go:build unix

package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"

	"github.com/millrace/millrace/internal/token"
)

// nginxConfig is the example of docs/private-channels.md.
func nginxConfig(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/private-channels.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```nginx\n")
	config, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("docs/private-channels.md has no example for nginx")
	}
	return config
}

// nginx serves a private channel's media from its cache to those who may have
// it: the second viewer gets the bytes that the first one fetched, and who is
// revoked gets no more.
func TestNginxAsksPerViewer(t *testing.T) {
	p := startPrivate(t, testInputs, "--trusted-proxies", "127.0.0.1")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	dir := t.TempDir()
	config := strings.NewReplacer("listen 80;", "listen "+address+";", "127.0.0.1:8080", strings.TrimPrefix(p.api, "http://"),
		"/var/cache/nginx/millrace", filepath.Join(dir, "media"), "/var/cache/nginx/authorized", filepath.Join(dir, "authorized")).Replace(nginxConfig(t))
	file := filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf("daemon off; pid %[1]s/pid; error_log stderr; events {}\nhttp { access_log off; client_body_temp_path %[1]s/a; proxy_temp_path %[1]s/b; fastcgi_temp_path %[1]s/c; uwsgi_temp_path %[1]s/d; scgi_temp_path %[1]s/e;\n%[2]s}\n", dir, config)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	nginx := exec.Command("/usr/sbin/nginx", "-c", file, "-p", dir)
	said := &transcript{}
	nginx.Stderr = said
	nginx.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if os.Getuid() == 0 {
		nginx.Args = append(nginx.Args, "-g", "user root;")
	}
	if err := nginx.Start(); err != nil {
		t.Fatalf("nginx: %v (make test installs it)", err)
	}
	t.Cleanup(func() {
		syscall.Kill(-nginx.Process.Pid, syscall.SIGKILL) // its own group; it may have gone
		nginx.Wait()
		if t.Failed() {
			t.Logf("nginx said:\n%s", said)
		}
	})
	wait(t, "nginx", func() bool { c, err := net.Dial("tcp", address); return err == nil && c.Close() == nil })

	through := func(url string) string { return strings.Replace(url, p.api, "http://"+address, 1) }
	first, second := through(p.start(token.Claims{ViewerID: "first"})), through(p.start(token.Claims{ViewerID: "second"}))
	folder := func(url string) string { return url[:strings.LastIndex(url, "/")+1] }
	_, segment, _ := listed(t, first)
	a := ask(t, "GET", folder(first)+segment)
	b := ask(t, "GET", folder(second)+segment)
	if a.status != http.StatusOK || b.status != http.StatusOK || a.body != b.body || b.header.Get("X-Cache") != "HIT" {
		t.Fatalf("the first got %d, the second %d, %q", a.status, b.status, b.header.Get("X-Cache"))
	}
	if list := ask(t, "GET", second); list.status != http.StatusOK || !strings.HasPrefix(list.body, "#EXTM3U") {
		t.Errorf("the playlist = %d %s", list.status, list.body)
	}
	if s := ask(t, "GET", folder(first[:len(first)-len("/source/playlist.m3u8")])+"x/"+segment); s.status != http.StatusForbidden {
		t.Errorf("another address = %d", s.status)
	}
	parts := strings.Split(folder(first)+segment, "/")
	parts[len(parts)-4] = strings.Repeat("A", 64)
	if s := ask(t, "GET", strings.Join(parts, "/")); s.status != http.StatusForbidden {
		t.Errorf("a session that was made up = %d", s.status)
	}
	if _, err := p.ivs().StartViewerSessionRevocation(t.Context(), &awsivs.StartViewerSessionRevocationInput{ChannelArn: p.channel.Arn, ViewerId: aws.String("first")}); err != nil {
		t.Fatal(err)
	}
	wait(t, "the first viewer to be refused", func() bool { return ask(t, "GET", folder(first)+segment).status == http.StatusForbidden })
	if s := ask(t, "GET", folder(second)+segment); s.status != http.StatusOK {
		t.Errorf("the second viewer = %d", s.status)
	}
}
