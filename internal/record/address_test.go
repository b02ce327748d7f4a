package record_test

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/access"
	"github.com/millrace/millrace/internal/bucket"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/record"
	"github.com/millrace/millrace/internal/token"
)

// Where recordings are public, those of a private channel are only for who has a
// good token of that channel, and for as long as what it allowed is allowed.
func TestRecordingsOfPrivateChannels(t *testing.T) {
	const account, region = "111122223333", "us-west-2"
	w := openWorld(t, t.TempDir())
	w.must(w.buckets.Check(t.Context(), bucketName))
	w.start()
	control := &access.Control{Store: w.db, Log: slog.New(slog.DiscardHandler), EndViewer: func(string, string, int64) {}}
	w.must(control.Load(t.Context()))
	go control.Run(t.Context()) // it ends with the test
	h := record.NewHandler(record.HandlerConfig{Recorder: w.recorder, Access: control, Key: []byte("key"), Public: true})

	private, public, err := token.GenerateKey()
	w.must(err)
	key, err := token.ParsePrivateKey(private)
	w.must(err, w.db.PlaybackKeyPairs().Create(t.Context(), ivs.PlaybackKeyPair{Fingerprint: "f", PublicKeyMaterial: string(public),
		ARN: ivs.ARN{Region: region, Account: account, Type: ivs.PlaybackKeyType, ID: ivs.NewID()}.String()}, 3, false))
	channel := func(region string, authorized bool) (ivs.Channel, string) {
		c := ivs.NewChannel(account, region)
		c.Authorized = authorized
		w.must(w.db.CreateChannel(t.Context(), c, ivs.NewStreamKey(account, region, c.ARN)))
		prefix := "ivs/v1/" + account + "/" + c.ARN[strings.LastIndexByte(c.ARN, '/')+1:] + "/2026/1/2/3/4/abcdefghijkl"
		for _, name := range []string{"/media/hls/master.m3u8", "/media/hls/720p30/0.ts", "/media/thumbnails/thumb0.jpg"} {
			file := filepath.Join(w.place, bucketName, prefix+name)
			w.must(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte("0123456789"), 0o644))
		}
		return c, "/recordings/" + bucketName + "/" + prefix
	}
	mine, base := channel(region, true)
	_, otherBase := channel(region, true)
	_, openBase := channel("eu-west-1", false)
	gone, goneBase := channel(region, false)
	w.must(w.db.DeleteChannel(t.Context(), gone.ARN))

	for name, content := range map[string]string{"/media/hls/720p30/playlist.m3u8": "#EXTM3U\n#EXT-X-ENDLIST\n", "/media/hls/480p30/playlist.m3u8": "#EXTM3U\n#EXTINF:10,\n0.ts\n",
		"/events/recording-ended.json": "{}", "/media/latest_thumbnail/thumb.jpg": "x"} {
		file := filepath.Join(w.place, strings.TrimPrefix(openBase, "/recordings/")+name)
		w.must(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(content), 0o644))
	}
	cache := func(address, want string) {
		t.Helper()
		answer := httptest.NewRecorder()
		h.ServeHTTP(answer, httptest.NewRequest("GET", address, nil))
		if got := answer.Header().Get("Cache-Control"); answer.Code != 200 || got != want {
			t.Errorf("%s: %d with Cache-Control %q, want %q", address, answer.Code, got, want)
		}
	}

	askBy := func(method, address, origin string) (status int, location string) {
		r := httptest.NewRequest(method, address, nil)
		if origin != "" {
			r.Header.Set("Origin", origin)
		}
		answer := httptest.NewRecorder()
		h.ServeHTTP(answer, r)
		return answer.Code, answer.Header().Get("Location")
	}
	ask := func(address, origin string) (status int, location string) { return askBy("GET", address, origin) }
	sign := func(c token.Claims) string {
		c.ChannelARN = mine.ARN
		if c.Expires.IsZero() {
			c.Expires = time.Now().Add(time.Minute)
		}
		raw, err := c.Sign(key)
		w.must(err)
		return "?token=" + raw
	}
	require := func(what, address, origin string, want int) (location string) {
		t.Helper()
		status, location := ask(address, origin)
		if status != want {
			t.Errorf("%s: %d, want %d", what, status, want)
		}
		return location
	}
	const playlist, segment, thumbnail = "/media/hls/master.m3u8", "/media/hls/720p30/0.ts", "/media/thumbnails/thumb0.jpg"
	for _, file := range []string{playlist, segment, thumbnail, "/download.mp4"} {
		require("no token for"+file, base+file, "", 403)
		require("an expired token for"+file, base+file+sign(token.Claims{Expires: time.Now().Add(-time.Second)}), "", 403)
		require("another channel's token for"+file, otherBase+file+sign(token.Claims{}), "", 403)
		require("a deleted channel's "+file, goneBase+file+sign(token.Claims{}), "", 403)
	}
	require("a public channel of another region", openBase+segment, "", 200)
	require("a resolution that cannot be kept", base+playlist+sign(token.Claims{MaximumResolution: "SD"}), "", 403)
	once := sign(token.Claims{SingleUse: "u"})
	require("a single use", base+playlist+once, "", 302)
	require("its second use", base+playlist+once, "", 403)
	looked := sign(token.Claims{SingleUse: "looked"})
	if status, location := askBy("HEAD", base+playlist+looked, ""); status != 302 || location == "" {
		t.Errorf("HEAD with a token for a single use: %d, %q", status, location)
	}
	if status, location := askBy("HEAD", base+playlist+looked, ""); status != 403 || location != "" {
		t.Errorf("HEAD once more: %d, %q", status, location)
	}
	require("GET after HEAD", base+playlist+looked, "", 403)

	location := require("a good token", base+playlist+sign(token.Claims{}), "", 302)
	if strings.Contains(location, "token") || !strings.HasSuffix(location, playlist) {
		t.Errorf("redirected to %s", location)
	}
	below := strings.TrimSuffix(location, playlist)
	for _, file := range []string{playlist, segment, thumbnail} {
		require("the address for"+file, below+file, "", 200)
		cache(below+file, "private, no-store")
	}
	for file, want := range map[string]string{segment: bucket.Immutable, thumbnail: bucket.Immutable, "/media/latest_thumbnail/thumb.jpg": bucket.Growing, playlist: bucket.Growing,
		"/media/hls/480p30/playlist.m3u8": bucket.Growing, "/media/hls/720p30/playlist.m3u8": bucket.Final, "/events/recording-ended.json": bucket.Final} {
		cache(openBase+file, want)
	}
	_, tail, _ := strings.Cut(below, "/"+bucketName+"/")
	_, otherTail, _ := strings.Cut(otherBase, "/"+bucketName+"/")
	require("the address of another recording", strings.Replace(below, tail, otherTail, 1)+segment, "", 403)
	signature, _, _ := strings.Cut(strings.TrimPrefix(below, "/recordings/"), "/")
	for i := 1; i < len(signature); i++ {
		changed := []byte(signature)
		changed[i] ^= 1
		if status, _ := ask(strings.Replace(below, signature, string(changed), 1)+segment, ""); status != 403 && status != 404 { // 404 where it is no address any more
			t.Errorf("character %d of the address can be changed: %d", i, status)
		}
	}

	strict := require("strict", base+playlist+sign(token.Claims{StrictOrigin: true, Origins: []string{"https://a.example"}}), "https://a.example", 302)
	require("strict, an allowed origin", strict, "https://a.example", 200)
	require("strict, another origin", strict, "https://b.example", 403)
	require("strict, no origin", strict, "", 403)

	w.cutOff(h, base+segment+sign(token.Claims{ViewerID: "cut", ViewerVersion: 1}), ivs.ViewerSession{ChannelARN: mine.ARN, ViewerID: "cut", Version: 1})

	viewer := require("a viewer", base+playlist+sign(token.Claims{ViewerID: "v", ViewerVersion: 3}), "", 302)
	newer := require("a newer version", base+playlist+sign(token.Claims{ViewerID: "v", ViewerVersion: 4}), "", 302)
	require("the viewer", viewer, "", 200)
	w.must(w.db.RevokeViewer(t.Context(), ivs.ViewerSession{ChannelARN: mine.ARN, ViewerID: "v", Version: 3}, time.Now()))
	w.wait("the revocation", func() bool { status, _ := ask(viewer, ""); return status == 403 })
	require("the newer version", newer, "", 200)
}

// cutOff checks that an answer that a viewer is still reading ends when the
// viewer is revoked.
func (w *world) cutOff(h http.Handler, address string, viewer ivs.ViewerSession) {
	w.t.Helper()
	const size = 64 << 30 // a file with a hole: more than can be read meanwhile
	name, _, _ := strings.Cut(strings.TrimPrefix(address, "/recordings/"), "?")
	w.must(os.Truncate(filepath.Join(w.place, name), size))
	server := httptest.NewServer(h)
	defer server.Close()
	answer, err := http.Get(server.URL + address)
	w.must(err)
	defer answer.Body.Close()
	if _, err := io.CopyN(io.Discard, answer.Body, 1<<20); err != nil || answer.StatusCode != http.StatusOK {
		w.t.Fatalf("the answer to be cut off: %s, %v", answer.Status, err)
	}
	w.must(w.db.RevokeViewer(w.t.Context(), viewer, time.Now()))
	w.wait("the revocation", func() bool {
		check, err := http.Get(server.URL + answer.Request.URL.RequestURI())
		w.must(err)
		check.Body.Close()
		return check.StatusCode == http.StatusForbidden
	})
	w.wait("the end of the answer", func() bool {
		_, err := io.CopyN(io.Discard, answer.Body, 1<<20)
		return err != nil && !errors.Is(err, io.EOF)
	})
}
