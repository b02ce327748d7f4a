package main

import (
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"
	"github.com/aws/aws-sdk-go-v2/service/ivs/types"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/token"
)

// A signer has the key pair of a private channel's tokens.
type signer struct {
	key    *ecdsa.PrivateKey
	public string
}

func newSigner(t *testing.T) signer {
	t.Helper()
	private, public, err := token.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	key, err := token.ParsePrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer{key, string(public)}
}

// importInto imports the public key into the account of the client.
func (s signer) importInto(t *testing.T, c *awsivs.Client, region string) (arn *string) {
	t.Helper()
	out, err := c.ImportPlaybackKeyPair(t.Context(), &awsivs.ImportPlaybackKeyPairInput{PublicKeyMaterial: &s.public},
		func(o *awsivs.Options) { o.Region = region })
	if err != nil {
		t.Fatal(err)
	}
	return out.KeyPair.Arn
}

// sign signs claims, those that are missing being good for the channel.
func (s signer) sign(t *testing.T, channelARN string, c token.Claims) string {
	t.Helper()
	if c.ChannelARN == "" {
		c.ChannelARN = channelARN
	}
	if c.Expires.IsZero() {
		c.Expires = time.Now().Add(5 * time.Minute)
	}
	raw, err := c.Sign(s.key)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// An answer is the response to a viewer.
type answer struct {
	status int
	header http.Header
	body   string
	code   string // error_code and error of a refusal
	text   string
}

// ask requests an address as a player does. header is pairs of names and values.
func ask(t *testing.T, method, address string, header ...string) answer {
	t.Helper()
	a, err := tryAsk(t.Context(), method, address, header...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func tryAsk(ctx context.Context, method, address string, header ...string) (a answer, err error) {
	return askWith(ctx, http.DefaultClient, method, address, header...)
}

func askWith(ctx context.Context, client *http.Client, method, address string, header ...string) (a answer, err error) {
	r, err := http.NewRequestWithContext(ctx, method, address, nil)
	if err != nil {
		return a, err
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := client.Do(r)
	if err != nil {
		return a, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	a = answer{status: res.StatusCode, header: res.Header, body: string(body)}
	var refusals []struct {
		URL, Error, Type string
		Code             string `json:"error_code"`
	}
	if json.Unmarshal(body, &refusals) == nil && len(refusals) == 1 && refusals[0].Type == "error" {
		a.code, a.text = refusals[0].Code, refusals[0].Error
	}
	return a, err
}

// A private is a private channel that is live, and its signer.
type private struct {
	*server
	signer
	t       *testing.T
	channel types.Channel
	key     *string // ARN of the signer's public key
}

func startPrivate(t *testing.T, inputs []string, flags ...string) private {
	t.Helper()
	return startPrivateIn(t, types.ContainerFormatTs, inputs, flags...)
}

func startPrivateIn(t *testing.T, container types.ContainerFormat, inputs []string, flags ...string) private {
	t.Helper()
	s := startServer(t, "", flags...)
	p := private{server: s, signer: newSigner(t), t: t}
	p.key = p.importInto(t, s.ivs(), "us-west-2")
	var key string
	p.channel, key = s.channel(awsivs.CreateChannelInput{Name: aws.String("private"), Authorized: true, InsecureIngest: true, ContainerFormat: container})
	publish(t, rtmpURL(s.rtmp, key), slices.Concat(inputs, testCodecs)...)
	s.live(p.channel.Arn)
	wait(t, "the channel to play", func() bool {
		return ask(t, "GET", p.url(token.Claims{})).status == http.StatusOK
	})
	return p
}

// url is the playback URL with a token of those claims.
func (p private) url(c token.Claims) string {
	return *p.channel.PlaybackUrl + "?token=" + p.sign(p.t, *p.channel.Arn, c)
}

// start starts playback with a token of those claims, and returns the address of
// the last media playlist.
func (p private) start(c token.Claims, header ...string) (media string) {
	p.t.Helper()
	return watch(p.t, *p.channel.PlaybackUrl, p.sign(p.t, *p.channel.Arn, c), header...)
}

// watch starts playback with a token, and returns the address of the last media
// playlist.
func watch(t *testing.T, playback, token string, header ...string) (media string) {
	t.Helper()
	var a answer
	wait(t, "playback to start", func() bool {
		a = ask(t, "GET", playback+"?token="+token, header...)
		return a.status != http.StatusNotFound
	})
	if a.status != http.StatusOK {
		t.Fatalf("start = %d %s", a.status, a.body)
	}
	base, err := url.Parse(playback)
	if err != nil {
		t.Fatal(err)
	}
	last, err := base.Parse(lastLine(a.body))
	if err != nil {
		t.Fatal(err)
	}
	return last.String()
}

// listed waits until a media playlist lists a segment and a part.
func listed(t *testing.T, media string, header ...string) (a answer, segment, part string) {
	t.Helper()
	wait(t, "a segment", func() bool {
		a = ask(t, "GET", media, header...)
		segment, part = uris(a.body)
		return segment != "" && part != ""
	})
	return a, segment, part
}

// fetchMedia fetches a segment that a media playlist lists.
func fetchMedia(t *testing.T, media string, header ...string) {
	t.Helper()
	_, segment, _ := listed(t, media, header...)
	if a := ask(t, "GET", media[:strings.LastIndexByte(media, '/')+1]+segment, header...); a.status != http.StatusOK {
		t.Fatalf("a segment = %d %s", a.status, a.text)
	}
}

// lastLine is the last URI of a playlist.
func lastLine(playlist string) string {
	lines := strings.Split(strings.TrimSpace(playlist), "\n")
	return lines[len(lines)-1]
}

// uris are those of a media playlist: a segment, and a part.
func uris(playlist string) (segment, part string) {
	for line := range strings.Lines(playlist) {
		line = strings.TrimSpace(line)
		if line != "" && line[0] != '#' {
			segment = line
		}
		if _, rest, ok := strings.Cut(line, `#EXT-X-PART:`); ok {
			if _, rest, ok = strings.Cut(rest, `URI="`); ok {
				part, _, _ = strings.Cut(rest, `"`)
			}
		}
	}
	return segment, part
}

// A viewer with a valid token can play a private channel, and no one else can.
func TestPrivateChannel(t *testing.T) {
	t.Parallel()
	p := startPrivate(t, testInputs)
	t.Run("tokens", p.testTokens)
	t.Run("media", p.testMedia)
	t.Run("single use", p.testSingleUse)
	t.Run("origins", p.testOrigins)
	t.Run("resolution", p.testResolution)
	t.Run("revocation", p.testRevocation)
	t.Run("deleted key", p.testDeletedKey)
	if log := p.log.String(); strings.Contains(log, "eyJ") {
		t.Error("a token is in the log")
	}
}

// Whether playback starts depends on the token alone.
func (p private) testTokens(t *testing.T) {
	arn := *p.channel.Arn
	other, elsewhere := newSigner(t), newSigner(t)
	elsewhere.importInto(t, p.ivs(), "eu-west-1")
	for _, tt := range []struct {
		name, token string
		code, text  string
	}{
		{"none", "", "invalid_playback_auth_token", "token contains an invalid number of segments"},
		{"good", p.sign(t, arn, token.Claims{}), "", ""},
		{"expired", p.sign(t, arn, token.Claims{Expires: time.Now().Add(-time.Minute)}), "invalid_playback_auth_token", "token has expired at 20"},
		{"of another channel", p.sign(t, arn, token.Claims{ChannelARN: arn + "x"}), "invalid_playback_auth_token", "token is for another channel"},
		{"of an unknown key", other.sign(t, arn, token.Claims{}), "invalid_playback_auth_token", "signature fits none of the playback key pairs"},
		{"of a key of another region", elsewhere.sign(t, arn, token.Claims{}), "invalid_playback_auth_token", "signature fits none of the playback key pairs"},
		{"viewer id for too long", p.sign(t, arn, token.Claims{ViewerID: "v", Expires: time.Now().Add(time.Hour)}), "invalid_playback_auth_token", "with aws:viewer-id it must expire within 10m0s"},
		{"garbage", "a.b.c", "invalid_playback_auth_token", "token's header is not"},
		{"too long", strings.Repeat("x", 3000), "invalid_playback_auth_token", "token has 3000 bytes; at most 2048 are allowed"},
	} {
		for _, method := range []string{"GET", "HEAD"} {
			a := ask(t, method, *p.channel.PlaybackUrl+"?token="+tt.token+"&player_version=1.50.0")
			want := http.StatusForbidden
			if tt.code == "" {
				want = http.StatusOK
			}
			if a.status != want || method == "GET" && (a.code != tt.code || !strings.Contains(a.text, tt.text)) {
				t.Errorf("%s: %s = %d %s", tt.name, method, a.status, a.body)
			}
			if a.header.Get("Access-Control-Allow-Origin") != "*" || a.header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: %s: %v", tt.name, method, a.header)
			}
		}
	}
	if a := ask(t, "OPTIONS", *p.channel.PlaybackUrl); a.status != http.StatusNoContent {
		t.Errorf("OPTIONS = %d", a.status)
	}
}

// Playlists, segments and parts are for viewer sessions of this channel alone.
func (p private) testMedia(t *testing.T) {
	media := p.start(token.Claims{ViewerID: "v"})
	list, segment, part := listed(t, media)
	if list.status != http.StatusOK || strings.Contains(list.body, "token") || strings.Contains(media, "token") {
		t.Fatalf("%s = %d %s", media, list.status, list.body)
	}
	stranger := strings.Split(media, "/")
	viewer := []byte(stranger[len(stranger)-4])
	viewer[len(viewer)/2] ^= 1
	stranger[len(stranger)-4] = string(viewer)
	forged := strings.Join(stranger, "/")
	dir := func(address string) string { return address[:strings.LastIndex(address, "/")+1] }
	for _, address := range []string{media, dir(media) + segment, dir(media) + part} {
		for _, method := range []string{"GET", "HEAD"} {
			if a := ask(t, method, address); a.status != http.StatusOK {
				t.Errorf("%s %s = %d", method, address, a.status)
			}
			bad := strings.Replace(address, dir(media), dir(forged), 1)
			if a := ask(t, method, bad); a.status != http.StatusForbidden || method == "GET" && a.code == "" {
				t.Errorf("%s %s = %d %s", method, bad, a.status, a.body)
			}
		}
	}
	if a := ask(t, "GET", dir(media)+segment, "Range", "bytes=0-9"); a.status != http.StatusPartialContent || len(a.body) != 10 {
		t.Errorf("a range = %d, %d bytes", a.status, len(a.body))
	}
	if a := ask(t, "GET", dir(forged)+segment, "Range", "bytes=0-9"); a.status != http.StatusForbidden {
		t.Errorf("a range of nobody = %d", a.status)
	}
	// Another viewer gets the same bytes.
	if again := p.start(token.Claims{}); ask(t, "GET", dir(again)+segment).body != ask(t, "GET", dir(media)+segment).body {
		t.Error("two viewers get different bytes")
	}
	// The session of a public channel is none here, nor that of this one there.
	open, key := p.server.channel(awsivs.CreateChannelInput{Name: aws.String("public"), InsecureIngest: true})
	publish(t, rtmpURL(p.rtmp, key), slices.Concat(testInputs, testCodecs)...)
	waitPlayable(t, *open.PlaybackUrl)
	_, theirs, _ := playlists(t, *open.PlaybackUrl)
	swap := func(into, from string) string {
		a, b := strings.Split(into, "/"), strings.Split(from, "/")
		a[len(a)-4] = b[len(b)-4]
		return strings.Join(a, "/")
	}
	if a := ask(t, "GET", swap(media, theirs)); a.status != http.StatusForbidden {
		t.Errorf("with a public channel's session = %d", a.status)
	}
	if a := ask(t, "GET", swap(theirs, media)); a.status != http.StatusNotFound {
		t.Errorf("a public channel with a private one's session = %d", a.status)
	}
}

// Of 50 viewers with one single-use token, one starts.
func (p private) testSingleUse(t *testing.T) {
	address := p.url(token.Claims{SingleUse: "1bcf3af7-6ca5-4bd1-8736-c50f3268d21d"})
	if a := ask(t, "HEAD", address); a.status != http.StatusOK {
		t.Errorf("HEAD = %d", a.status)
	}
	var started, refused atomic.Int32
	var playlist atomic.Value
	var viewers sync.WaitGroup
	for range 50 {
		viewers.Go(func() {
			switch a, err := tryAsk(t.Context(), "GET", address); {
			case err != nil:
				t.Error(err)
			case a.status == http.StatusOK:
				started.Add(1)
				playlist.Store(a.body)
			case a.status == http.StatusForbidden && a.code == "playback_auth_error":
				refused.Add(1)
			default:
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
	viewers.Wait()
	if started.Load() != 1 || refused.Load() != 49 {
		t.Errorf("%d of 50 started, %d were refused", started.Load(), refused.Load())
	}
	if a := ask(t, "HEAD", address); a.status != http.StatusForbidden {
		t.Errorf("HEAD of a used one = %d", a.status)
	}
	// Who has started may read the playlist again, as the same viewer.
	again, _, _ := strings.Cut(address, "?")
	media := regexp.MustCompile(`(?m)^([^#/]+/([^/]+)/.*)$`) // URI and viewer session
	first := media.FindStringSubmatch(playlist.Load().(string))
	uri, viewer := first[1], first[2]
	if a := ask(t, "GET", again+"?viewer="+viewer); a.status != http.StatusOK || !strings.Contains(a.body, uri+"\n") {
		t.Errorf("the playlist again = %d %s, want one with %s", a.status, a.body, uri)
	}
	if a := ask(t, "GET", again+"?viewer="+viewer[:len(viewer)-2]+"AA"); a.status != http.StatusForbidden {
		t.Errorf("the playlist of a viewer session that was made up = %d", a.status)
	}
}

// Tokens can be bound to origins, loosely or strictly.
func (p private) testOrigins(t *testing.T) {
	origins := []string{"https://a.example", "https://*.b.example"}
	for _, strict := range []bool{false, true} {
		address := p.url(token.Claims{Origins: origins, StrictOrigin: strict})
		for origin, want := range map[string]int{"https://a.example": 200, "https://x.b.example": 200, "https://b.example": 403,
			"https://evil.example": 403, "http://a.example": 403, "null": 403, "": map[bool]int{false: 200, true: 403}[strict]} {
			a := ask(t, "GET", address, "Origin", origin)
			if a.status != want || want != 200 && a.code != "playback_auth_error" {
				t.Errorf("strict %v, origin %q = %d %s", strict, origin, a.status, a.body)
			}
		}
		media := p.start(token.Claims{Origins: origins, StrictOrigin: strict}, "Origin", "https://a.example")
		_, segment, part := listed(t, media, "Origin", "https://x.b.example")
		for _, file := range []string{"playlist.m3u8", segment, part} {
			address := media[:strings.LastIndex(media, "/")+1] + file
			for origin, strictly := range map[string]int{"https://a.example": 200, "https://evil.example": 403, "": 403} {
				want := 200
				if strict {
					want = strictly
				}
				a := ask(t, "GET", address, "Origin", origin, "Referer", "https://a.example/")
				if a.status != want {
					t.Errorf("strict %v, origin %q: %s = %d", strict, origin, file, a.status)
				}
				if want == 403 && origin == "" && file != "playlist.m3u8" && strings.TrimSpace(a.body) != "origin required" {
					t.Errorf("%s without an origin: %q", file, a.body)
				}
			}
		}
	}
}

// A maximum resolution above that of the source changes nothing. (It has 360 lines.)
func (p private) testResolution(t *testing.T) {
	for _, class := range []string{"SD", "HD", "FULL_HD"} {
		if a := ask(t, "GET", p.start(token.Claims{MaximumResolution: class})); a.status != http.StatusOK {
			t.Errorf("%s = %d", class, a.status)
		}
	}
}

// A revocation ends sessions up to its version, also requests that wait, and no others.
func (p private) testRevocation(t *testing.T) {
	mine := token.Claims{ViewerID: "mine", ViewerVersion: 5}
	media, old, others := p.start(mine), p.start(token.Claims{ViewerID: "mine"}), p.start(token.Claims{ViewerID: "others"})
	newer := p.start(token.Claims{ViewerID: "mine", ViewerVersion: 6})
	for _, m := range []string{media, old, others, newer} {
		if a := ask(t, "GET", m); a.status != http.StatusOK {
			t.Fatalf("%s = %d", m, a.status)
		}
	}
	// One of them waits for what comes only in a while.
	waiting := make(chan error, 1)
	go func() {
		for {
			a, err := tryAsk(t.Context(), "GET", media+"?_HLS_msn="+fmt.Sprint(nextSegment(t, others)+1))
			if err != nil || a.status == http.StatusForbidden {
				waiting <- err
				return
			}
		}
	}()
	began := time.Now()
	_, err := p.ivs().StartViewerSessionRevocation(t.Context(), &awsivs.StartViewerSessionRevocationInput{
		ChannelArn: p.channel.Arn, ViewerId: aws.String("mine"), ViewerSessionVersionsLessThanOrEqualTo: 5})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-waiting:
		t.Logf("cut off after %v: %v", time.Since(began), err)
	case <-time.After(patience):
		t.Error("the request that waited was not cut off")
	}
	for m, want := range map[string]int{media: 403, old: 403, others: 200, newer: 200} {
		wait(t, fmt.Sprint(want), func() bool { return ask(t, "GET", m).status == want })
	}
	for _, tt := range []struct {
		c    token.Claims
		want int
	}{
		{mine, 403},
		{token.Claims{ViewerID: "mine"}, 403},
		{token.Claims{ViewerID: "mine", ViewerVersion: 6}, 200},
		{token.Claims{ViewerID: "others"}, 200},
		{token.Claims{}, 200},
	} {
		a := ask(t, "GET", p.url(tt.c))
		if a.status != tt.want || tt.want == 403 && (a.code != "playback_auth_error" || !strings.Contains(a.text, "revoked")) {
			t.Errorf("start with %+v = %d %s", tt.c, a.status, a.body)
		}
	}
}

// Tokens of a deleted key start nothing; running sessions continue.
func (p private) testDeletedKey(t *testing.T) {
	media, address := p.start(token.Claims{}), p.url(token.Claims{})
	if a := ask(t, "GET", address); a.status != http.StatusOK {
		t.Fatalf("before: %d", a.status)
	}
	if _, err := p.ivs().DeletePlaybackKeyPair(t.Context(), &awsivs.DeletePlaybackKeyPairInput{Arn: p.key}); err != nil {
		t.Fatal(err)
	}
	if a := ask(t, "GET", address); a.status != http.StatusForbidden || !strings.Contains(a.text, "no playback key pair") {
		t.Errorf("a token of it = %d %s", a.status, a.body)
	}
	if a := ask(t, "GET", media); a.status != http.StatusOK {
		t.Errorf("a running session = %d", a.status)
	}
}

// nextSegment is the number of the segment that a media playlist has last, plus
// one.
func nextSegment(t *testing.T, media string) (n int) {
	a, err := tryAsk(t.Context(), "GET", media)
	if err != nil {
		return 0
	}
	segment, _ := uris(a.body)
	fmt.Sscan(strings.TrimSuffix(segment, ".ts"), &n) // 0 will do
	return n + 1
}

// Of a thousand who watch, half of them in the name of one viewer, exactly that
// half stops when the viewer is revoked.
func TestRevokeHalf(t *testing.T) {
	const each = 500
	p := startPrivate(t, testInputs, "--max-views-per-address", "5000")
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2 * each}}
	defer client.CloseIdleConnections()
	ctx, stop := context.WithCancel(t.Context())
	var viewers sync.WaitGroup
	defer viewers.Wait()
	defer stop()
	var played, refused [2][each]atomic.Int64
	for who, id := range []string{"one", "other"} {
		signed := p.sign(t, *p.channel.Arn, token.Claims{ViewerID: id, ViewerVersion: 7})
		for i := range each {
			media := watch(t, *p.channel.PlaybackUrl, signed) // a viewer session each
			viewers.Go(func() {
				for msn := 0; ctx.Err() == nil; {
					// Most requests wait for a segment to come; one that is cut off is asked again.
					a, err := askWith(ctx, client, "GET", media+"?_HLS_msn="+fmt.Sprint(msn))
					switch {
					case err == nil && a.status == http.StatusForbidden:
						refused[who][i].Add(1)
						return
					case err == nil && a.status == http.StatusOK:
						played[who][i].Add(1)
						segment, _ := uris(a.body)
						fmt.Sscan(strings.TrimSuffix(segment, ".ts"), &msn) // then it asks for the first again
						msn++
					}
				}
			})
		}
	}
	count := func(who int, of *[2][each]atomic.Int64, least int64) (n int) {
		for i := range each {
			if of[who][i].Load() >= least {
				n++
			}
		}
		return n
	}
	wait(t, "all to play", func() bool { return count(0, &played, 1) == each && count(1, &played, 1) == each })
	began := time.Now()
	_, err := p.ivs().StartViewerSessionRevocation(t.Context(), &awsivs.StartViewerSessionRevocationInput{
		ChannelArn: p.channel.Arn, ViewerId: aws.String("one"), ViewerSessionVersionsLessThanOrEqualTo: 7})
	if err != nil {
		t.Fatal(err)
	}
	wait(t, "the one to stop", func() bool { return count(0, &refused, 1) == each })
	t.Logf("all %d have stopped after %v", each, time.Since(began))
	var before [each]int64
	for i := range each {
		before[i] = played[1][i].Load()
	}
	wait(t, "the other one to continue", func() bool {
		for i := range each {
			if played[1][i].Load() <= before[i] {
				return false
			}
		}
		return true
	})
	if n := count(1, &refused, 1); n != 0 {
		t.Errorf("%d of the other viewer's sessions were refused", n)
	}
}

// What was used and what was revoked is so after a crash too, and sessions that
// were begun continue.
func TestPrivateChannelRestart(t *testing.T) {
	t.Parallel()
	p := startPrivate(t, testInputs)
	once := p.url(token.Claims{SingleUse: "once"})
	if a := ask(t, "GET", once); a.status != http.StatusOK {
		t.Fatalf("first use = %d %s", a.status, a.body)
	}
	if _, err := p.ivs().BatchStartViewerSessionRevocation(t.Context(), &awsivs.BatchStartViewerSessionRevocationInput{
		ViewerSessions: []types.BatchStartViewerSessionRevocationViewerSession{{ChannelArn: p.channel.Arn, ViewerId: aws.String("gone")}}}); err != nil {
		t.Fatal(err)
	}
	p.kill()
	p.server = startServer(t, p.data)
	out, err := p.ivs().ListStreamKeys(t.Context(), &awsivs.ListStreamKeysInput{ChannelArn: p.channel.Arn})
	if err != nil {
		t.Fatal(err)
	}
	key, err := p.ivs().GetStreamKey(t.Context(), &awsivs.GetStreamKeyInput{Arn: out.StreamKeys[0].Arn})
	if err != nil {
		t.Fatal(err)
	}
	p.channel.PlaybackUrl = aws.String(ivs.Endpoints{PublicURL: p.api}.PlaybackURL(*p.channel.Arn))
	publish(t, rtmpURL(p.rtmp, *key.StreamKey.Value), slices.Concat(testInputs, testCodecs)...)
	wait(t, "the channel to play", func() bool { return ask(t, "GET", p.url(token.Claims{})).status == http.StatusOK })
	u, err := url.Parse(once)
	if err != nil {
		t.Fatal(err)
	}
	if a := ask(t, "GET", *p.channel.PlaybackUrl+"?"+u.RawQuery); a.code != "playback_auth_error" || !strings.Contains(a.text, "has been used") {
		t.Errorf("second use after a restart = %d %s", a.status, a.body)
	}
	if a := ask(t, "GET", p.url(token.Claims{ViewerID: "gone"})); a.code != "playback_auth_error" || !strings.Contains(a.text, "revoked") {
		t.Errorf("a revoked viewer after a restart = %d %s", a.status, a.body)
	}
	if line := p.waitLog("have been revoked"); !strings.Contains(line, "viewer=gone") {
		t.Errorf("the log does not say who: %s", line)
	}
}

// The commands with which docs/private-channels.md begins do what it says: a key,
// a channel, a URL that plays, and nothing more for the viewer who is revoked.
func TestPrivateChannelByTheBook(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/private-channels.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(page), "```sh\n")
	block, _, _ = strings.Cut(block, "```")
	lines := strings.Split(strings.TrimSpace(block), "\n")
	if len(lines) != 5 {
		t.Fatalf("the page has %d commands:\n%s", len(lines), block)
	}
	s := startServer(t, "")
	env := exports(t, output(t, []string{runMain + "=1"}, millrace().Path, "env", "--data", s.data, "--http", strings.TrimPrefix(s.api, "http://"),
		"--access-key-id", testKey, "--secret-access-key", testSecret))
	env = append(env, "AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null", "AWS_EC2_METADATA_DISABLED=true",
		"MILLRACE_DATA="+s.data, "MILLRACE_PUBLIC_URL="+s.api, "PROGRAM="+millrace().Path, "API="+s.api)
	dir := t.TempDir()
	run := func(line string, more ...string) string {
		t.Helper()
		return output(t, slices.Concat(env, more), "sh", "-ec", "cd '"+dir+`'
millrace() { `+runMain+`=1 "$PROGRAM" "$@"; }
aws() { command aws --endpoint-url "$API" --output json "$@"; }
`+line)
	}
	run(lines[0])
	run(lines[1])
	var created struct {
		Channel   struct{ Arn string }
		StreamKey struct{ Value string }
	}
	if err := json.Unmarshal([]byte(run(lines[2])), &created); err != nil {
		t.Fatal(err)
	}
	playback := strings.TrimSpace(run(lines[3]))
	publish(t, rtmpsURL(s.rtmps, created.StreamKey.Value), slices.Concat(testInputs, testCodecs)...)
	address, signed, _ := strings.Cut(playback, "?token=")
	media := watch(t, address, signed)
	listed(t, media)
	if a := ask(t, "GET", address); a.status != http.StatusForbidden {
		t.Errorf("without a token = %d", a.status)
	}
	run(lines[4], "ARN="+created.Channel.Arn)
	wait(t, "the viewer to be refused", func() bool { return ask(t, "GET", media).status == http.StatusForbidden })
	if a := ask(t, "GET", playback); a.status != http.StatusForbidden || !strings.Contains(a.text, "revoked") {
		t.Errorf("another start = %d %s", a.status, a.body)
	}
}
