package playback_test

import (
	"encoding/json"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/millrace/millrace/internal/live"
	"github.com/millrace/millrace/internal/playback"
)

// Whatever path is asked for, without a live channel there is nothing, and the
// answer says so in JSON.
func FuzzPath(f *testing.F) {
	const name = "us-west-2.123456789012.channel.abcdefghijkl"
	for _, path := range []string{
		name + ".m3u8", "aws.ivs." + name + ".m3u8", name + "/0123456789abcdef/st-1/source/playlist.m3u8",
		name + "/0123456789abcdef/st-1/source/p1.ts", "", "/", "...m3u8", ".channel..m3u8", name + "/../../x", "a.b.channel.c/ffffffffffffffff//",
	} {
		f.Add(path, "_HLS_msn=1&token=x")
	}
	h := playback.New(playback.Config{Hub: &live.Hub{}})
	f.Fuzz(func(t *testing.T, path, query string) {
		r := httptest.NewRequest("GET", playback.Root, nil)
		r.URL = &url.URL{Path: playback.Root + path, RawQuery: query}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		var refusals []struct {
			Code string `json:"error_code"`
		}
		if err := json.Unmarshal(w.Body.Bytes(), &refusals); err != nil || len(refusals) != 1 || refusals[0].Code == "" || w.Code != 404 && w.Code != 403 {
			t.Errorf("%q?%q = %d %s (%v)", path, query, w.Code, w.Body, err)
		}
	})
}
