package record_test

import (
	"crypto/ecdsa"
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

// Where recordings are public, those of a private channel need a valid token of that
// channel, and can be read for as long as what the token allowed is allowed.
func TestRecordingsOfPrivateChannels(t *testing.T) {
	w := newPrivateWorld(t)
	t.Run("tokens", w.checkTokens)
	t.Run("public", w.checkPublic)
	t.Run("address", w.checkAddress)
	t.Run("strict origins", w.checkStrictOrigins)
	t.Run("revocations", w.checkRevocations)
}

const (
	privateAccount, privateRegion = "111122223333", "us-west-2"

	masterFile, segmentFile, thumbnailFile = "/media/hls/master.m3u8", "/media/hls/720p30/0.ts", "/media/thumbnails/thumb0.jpg"
)

// A privateWorld has recordings of channels in its bucket, and serves them.
type privateWorld struct {
	*world
	handler http.Handler
	key     *ecdsa.PrivateKey // of the account
	mine    ivs.Channel       // a private channel

	base, otherBase, openBase, goneBase string // addresses of recordings: its own, another private channel's, a public one's, a deleted one's
}

func newPrivateWorld(t *testing.T) *privateWorld {
	w := &privateWorld{world: openWorld(t, t.TempDir())}
	w.must(w.buckets.Check(t.Context(), bucketName))
	w.start()
	control := &access.Control{Store: w.db, Log: slog.New(slog.DiscardHandler), EndViewer: func(string, string, int64) {}}
	w.must(control.Load(t.Context()))
	go control.Run(t.Context()) // it ends with the test
	w.handler = record.NewHandler(record.HandlerConfig{Recorder: w.recorder, Access: control, Key: []byte("key"), Public: true})
	private, public, err := token.GenerateKey()
	w.must(err)
	w.key, err = token.ParsePrivateKey(private)
	w.must(err, w.db.PlaybackKeyPairs().Create(t.Context(), ivs.PlaybackKeyPair{Fingerprint: "f", PublicKeyMaterial: string(public),
		ARN: ivs.ARN{Region: privateRegion, Account: privateAccount, Type: ivs.PlaybackKeyType, ID: ivs.NewID()}.String()}, 3, false))
	w.mine, w.base = w.recordedChannel(privateRegion, true)
	_, w.otherBase = w.recordedChannel(privateRegion, true)
	_, w.openBase = w.recordedChannel("eu-west-1", false)
	var gone ivs.Channel
	gone, w.goneBase = w.recordedChannel(privateRegion, false)
	w.must(w.db.DeleteChannel(t.Context(), gone.ARN))
	return w
}

// recordedChannel makes a channel and a recording, and returns the recording's
// address.
func (w *privateWorld) recordedChannel(region string, authorized bool) (ivs.Channel, string) {
	c := ivs.NewChannel(privateAccount, region)
	c.Authorized = authorized
	w.must(w.db.CreateChannel(w.t.Context(), c, ivs.NewStreamKey(privateAccount, region, c.ARN)))
	base := "/recordings/" + bucketName + "/ivs/v1/" + privateAccount + "/" + c.ARN[strings.LastIndexByte(c.ARN, '/')+1:] + "/2026/1/2/3/4/abcdefghijkl"
	for _, name := range []string{masterFile, segmentFile, thumbnailFile} {
		w.put(base+name, "0123456789")
	}
	return c, base
}

// put writes the object of an address.
func (w *privateWorld) put(address, content string) {
	w.t.Helper()
	file := filepath.Join(w.place, strings.TrimPrefix(address, "/recordings/"))
	w.must(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(content), 0o644))
}

func (w *privateWorld) ask(method, address, origin string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, address, nil)
	if origin != "" {
		r.Header.Set("Origin", origin)
	}
	answer := httptest.NewRecorder()
	w.handler.ServeHTTP(answer, r)
	return answer
}

// require asks for an address, and returns where it is redirected.
func (w *privateWorld) require(t *testing.T, what, address, origin string, want int) (location string) {
	t.Helper()
	answer := w.ask("GET", address, origin)
	if answer.Code != want {
		t.Errorf("%s: %d, want %d", what, answer.Code, want)
	}
	return answer.Header().Get("Location")
}

func (w *privateWorld) requireCache(t *testing.T, address, want string) {
	t.Helper()
	if answer := w.ask("GET", address, ""); answer.Code != 200 || answer.Header().Get("Cache-Control") != want {
		t.Errorf("%s: %d with Cache-Control %q, want %q", address, answer.Code, answer.Header().Get("Cache-Control"), want)
	}
}

// sign is the query with a token for the channel.
func (w *privateWorld) sign(c token.Claims) string {
	c.ChannelARN = w.mine.ARN
	if c.Expires.IsZero() {
		c.Expires = time.Now().Add(time.Minute)
	}
	raw, err := c.Sign(w.key)
	w.must(err)
	return "?token=" + raw
}

func (w *privateWorld) checkTokens(t *testing.T) {
	for _, file := range []string{masterFile, segmentFile, thumbnailFile, "/download.mp4"} {
		w.require(t, "no token for"+file, w.base+file, "", 403)
		w.require(t, "an expired token for"+file, w.base+file+w.sign(token.Claims{Expires: time.Now().Add(-time.Second)}), "", 403)
		w.require(t, "another channel's token for"+file, w.otherBase+file+w.sign(token.Claims{}), "", 403)
		w.require(t, "a deleted channel's "+file, w.goneBase+file+w.sign(token.Claims{}), "", 403)
	}
	w.require(t, "a resolution that cannot be kept", w.base+masterFile+w.sign(token.Claims{MaximumResolution: "SD"}), "", 403)
	once := w.sign(token.Claims{SingleUse: "u"})
	w.require(t, "a single use", w.base+masterFile+once, "", 302)
	w.require(t, "its second use", w.base+masterFile+once, "", 403)
	looked := w.sign(token.Claims{SingleUse: "looked"})
	if a := w.ask("HEAD", w.base+masterFile+looked, ""); a.Code != 302 || a.Header().Get("Location") == "" {
		t.Errorf("HEAD with a token for a single use: %d, %q", a.Code, a.Header().Get("Location"))
	}
	if a := w.ask("HEAD", w.base+masterFile+looked, ""); a.Code != 403 || a.Header().Get("Location") != "" {
		t.Errorf("HEAD once more: %d, %q", a.Code, a.Header().Get("Location"))
	}
	w.require(t, "GET after HEAD", w.base+masterFile+looked, "", 403)
}

// checkPublic looks at a channel that anyone may watch, and at how long its
// recording may be cached.
func (w *privateWorld) checkPublic(t *testing.T) {
	w.require(t, "a public channel of another region", w.openBase+segmentFile, "", 200)
	w.requireCache(t, w.openBase+masterFile, bucket.Growing)
	for name, content := range map[string]string{"/media/hls/720p30/playlist.m3u8": "#EXTM3U\n#EXT-X-ENDLIST\n", "/media/hls/480p30/playlist.m3u8": "#EXTM3U\n#EXTINF:10,\n0.ts\n",
		"/events/recording-ended.json": "{}", "/media/latest_thumbnail/thumb.jpg": "x"} {
		w.put(w.openBase+name, content)
	}
	for file, want := range map[string]string{segmentFile: bucket.Immutable, thumbnailFile: bucket.Immutable, "/media/latest_thumbnail/thumb.jpg": bucket.Growing, masterFile: bucket.Final,
		"/media/hls/480p30/playlist.m3u8": bucket.Growing, "/media/hls/720p30/playlist.m3u8": bucket.Final, "/events/recording-ended.json": bucket.Final} {
		w.requireCache(t, w.openBase+file, want)
	}
}

// checkAddress looks at the address that a good token is exchanged for.
func (w *privateWorld) checkAddress(t *testing.T) {
	location := w.require(t, "a good token", w.base+masterFile+w.sign(token.Claims{}), "", 302)
	if strings.Contains(location, "token") || !strings.HasSuffix(location, masterFile) {
		t.Errorf("redirected to %s", location)
	}
	below := strings.TrimSuffix(location, masterFile)
	for _, file := range []string{masterFile, segmentFile, thumbnailFile} {
		w.require(t, "the address for"+file, below+file, "", 200)
		w.requireCache(t, below+file, "private, no-store")
	}
	_, tail, _ := strings.Cut(below, "/"+bucketName+"/")
	_, otherTail, _ := strings.Cut(w.otherBase, "/"+bucketName+"/")
	w.require(t, "the address of another recording", strings.Replace(below, tail, otherTail, 1)+segmentFile, "", 403)
	signature, _, _ := strings.Cut(strings.TrimPrefix(below, "/recordings/"), "/")
	for i := 1; i < len(signature); i++ {
		changed := []byte(signature)
		changed[i] ^= 1
		if a := w.ask("GET", strings.Replace(below, signature, string(changed), 1)+segmentFile, ""); a.Code != 403 && a.Code != 404 { // 404 where it is no address any more
			t.Errorf("character %d of the address can be changed: %d", i, a.Code)
		}
	}
}

func (w *privateWorld) checkStrictOrigins(t *testing.T) {
	strict := w.require(t, "strict", w.base+masterFile+w.sign(token.Claims{StrictOrigin: true, Origins: []string{"https://a.example"}}), "https://a.example", 302)
	w.require(t, "strict, an allowed origin", strict, "https://a.example", 200)
	w.require(t, "strict, another origin", strict, "https://b.example", 403)
	w.require(t, "strict, no origin", strict, "", 403)
}

func (w *privateWorld) checkRevocations(t *testing.T) {
	w.cutOff(w.handler, w.base+segmentFile+w.sign(token.Claims{ViewerID: "cut", ViewerVersion: 1}), ivs.ViewerSession{ChannelARN: w.mine.ARN, ViewerID: "cut", Version: 1})
	viewer := w.require(t, "a viewer", w.base+masterFile+w.sign(token.Claims{ViewerID: "v", ViewerVersion: 3}), "", 302)
	newer := w.require(t, "a newer version", w.base+masterFile+w.sign(token.Claims{ViewerID: "v", ViewerVersion: 4}), "", 302)
	w.require(t, "the viewer", viewer, "", 200)
	w.must(w.db.RevokeViewer(t.Context(), ivs.ViewerSession{ChannelARN: w.mine.ARN, ViewerID: "v", Version: 3}, time.Now()))
	w.wait("the revocation", func() bool { return w.ask("GET", viewer, "").Code == 403 })
	w.require(t, "the newer version", newer, "", 200)
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
