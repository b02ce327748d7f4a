package console

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

var build = fstest.MapFS{
	"index.html":         {Data: []byte("<!doctype html>")},
	".gitkeep":           {},
	"assets/a-1.js":      {Data: []byte("plain script")},
	"assets/a-1.js.gz":   {Data: []byte("packed script")},
	"assets/style-1.css": {Data: []byte("plain style")},
}

func get(t *testing.T, h http.Handler, url, encoding string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest("GET", url, nil)
	r.Header.Set("Accept-Encoding", encoding)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestFiles(t *testing.T) {
	const forever = "public, max-age=31536000, immutable"
	type answer struct {
		Status                   int
		Body, Type, Cache, Coded string
	}
	tests := []struct {
		url, encoding string
		want          answer
	}{
		{"/console/", "", answer{200, "<!doctype html>", "text/html; charset=utf-8", "no-cache", ""}},
		{"/console/assets/a-1.js", "", answer{200, "plain script", "text/javascript; charset=utf-8", forever, ""}},
		{"/console/assets/a-1.js", "br, gzip", answer{200, "packed script", "text/javascript; charset=utf-8", forever, "gzip"}},
		{"/console/assets/a-1.js", "gzip;q=0", answer{200, "plain script", "text/javascript; charset=utf-8", forever, ""}},
		{"/console/assets/style-1.css", "gzip", answer{200, "plain style", "text/css; charset=utf-8", forever, ""}},
		{"/console/assets/gone-2.js", "", answer{404, "404 page not found\n", "text/plain; charset=utf-8", "", ""}},
		{"/console/.gitkeep", "", answer{404, "404 page not found\n", "text/plain; charset=utf-8", "", ""}},
		{"/console/config.json", "", answer{200, `{"region":"eu-west-1","rtmpPort":1935,"rtmpsPort":1936}` + "\n", "application/json", "no-cache", ""}},
	}
	h := handler(build, Config{Region: "eu-west-1", RTMPPort: 1935, RTMPSPort: 1936})
	for _, tt := range tests {
		t.Run(tt.url+" "+tt.encoding, func(t *testing.T) {
			w := get(t, h, tt.url, tt.encoding)
			got := answer{w.Code, w.Body.String(), w.Header().Get("Content-Type"),
				w.Header().Get("Cache-Control"), w.Header().Get("Content-Encoding")}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestNotBuilt(t *testing.T) {
	w := get(t, handler(fstest.MapFS{".gitkeep": {}}, Config{}), "/console/", "")
	if w.Code != 503 || !strings.Contains(w.Body.String(), "run `make build`") {
		t.Errorf("= %d %q, want 503 and the command to run", w.Code, w.Body)
	}
}

func TestMethods(t *testing.T) {
	w := httptest.NewRecorder()
	handler(build, Config{}).ServeHTTP(w, httptest.NewRequest("POST", "/console/", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST = %d, want 405", w.Code)
	}
}

func TestPolicy(t *testing.T) {
	tests := []struct{ origin, media, connect string }{
		{"", "media-src 'self' blob: data: ;", "connect-src 'self'"},
		{"https://video.example.com", "media-src 'self' blob: data: https://video.example.com;", "connect-src 'self' https://video.example.com"},
	}
	for _, tt := range tests {
		h := get(t, handler(build, Config{PlaybackOrigin: tt.origin}), "/console/none", "").Header()
		policy := h.Get("Content-Security-Policy")
		if !strings.HasPrefix(policy, "default-src 'none'; ") || strings.Contains(policy, "unsafe") {
			t.Errorf("policy %q is not strict", policy)
		}
		if !strings.Contains(policy, tt.media) || !strings.HasSuffix(policy, tt.connect) {
			t.Errorf("policy %q, want %q and %q", policy, tt.media, tt.connect)
		}
		if h.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("headers = %v", h)
		}
	}
}

func TestOpenerPolicy(t *testing.T) {
	h := handler(build, Config{PlaybackOrigin: "https://live.example.com"})
	for url, want := range map[string]string{
		"http://127.0.0.1:8080/console/": "same-origin", "http://[::1]:8080/console/": "same-origin", "http://localhost/console/": "same-origin",
		"https://192.168.1.5/console/": "same-origin", "http://live.example.com/console/": "same-origin", // a proxy ends its TLS
		"http://192.168.1.5:8080/console/": "", "http://millrace.lan/console/": "",
	} {
		if got := get(t, h, url, "").Header().Get("Cross-Origin-Opener-Policy"); got != want {
			t.Errorf("%s: %q, want %q", url, got, want)
		}
	}
}

func TestWatch(t *testing.T) {
	files := fstest.MapFS{"watch.html": {Data: []byte("<!doctype html>")}}
	tests := []struct {
		url    string
		status int
	}{
		{"/watch/us-west-2.000000000000.channel.abcdEFGH1234", 200},
		{"/watch/us-west-2.000000000000.channel.abcdEFGH1234?token=a.b.c", 200},
		{"/watch/us-west-2.000000000000.stream-key.abcdEFGH1234", 404},
		{"/watch/demo", 404},
		{"/watch/", 404},
		{"/watch/us-west-2.000000000000.channel.<script>", 404},
	}
	for _, tt := range tests {
		w := get(t, watchHandler(files, Config{}), tt.url, "")
		if w.Code != tt.status {
			t.Errorf("%s = %d, want %d", tt.url, w.Code, tt.status)
		}
		policy := w.Header().Get("Content-Security-Policy")
		if !strings.HasSuffix(policy, "frame-ancestors *") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s: policy %q, want a strict one for a page that can be framed", tt.url, policy)
		}
		if w.Header().Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: the token in the URL may reach other sites", tt.url)
		}
	}
	if w := get(t, watchHandler(fstest.MapFS{}, Config{}), tests[0].url, ""); w.Code != 503 {
		t.Errorf("without a build = %d, want 503", w.Code)
	}
}
