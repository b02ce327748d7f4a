package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ivs/types"

	"github.com/millrace/millrace/internal/token"
)

// originPage plays the address in its fragment with hls.js, reads it with a
// request that needs a preflight, and has video elements of its own.
const originPage = `<!doctype html><video id="video" muted width="320" height="180"></video>
<script src="/hls.min.js"></script>
<script>
const address = decodeURIComponent(location.hash.slice(1)), video = document.querySelector('#video'), failed = []
const hls = new Hls()
hls.on(Hls.Events.ERROR, (_, e) => failed.push(e.details + ' ' + e.response?.code))
hls.loadSource(address)
hls.attachMedia(video)
video.play().catch(() => {})
let read
fetch(address, { headers: { 'X-Of-A-Page': '1' } }).then(async r => { read = r.status + ' ' + await r.text() }, e => { read = String(e) })
function native(src, crossOrigin) {
	const v = document.createElement('video')
	v.crossOrigin = crossOrigin
	v.src = src
	v.load()
}
</script>`

// A browser plays a private channel on a page whose origin the token allows, and
// not on another, which learns why. A plain video element sends the origin, as
// Safari's does, only with crossorigin.
func TestBrowserOrigins(t *testing.T) {
	p := startPrivateIn(t, types.ContainerFormatFragmentedMP4, testInputs)
	pages := http.NewServeMux()
	pages.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, originPage)
	})
	pages.HandleFunc("/hls.min.js", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, "../../console/node_modules/hls.js/dist/hls.min.js")
	})
	allowed, other := httptest.NewServer(pages), httptest.NewServer(pages)
	t.Cleanup(allowed.Close)
	t.Cleanup(other.Close)
	claims := token.Claims{Origins: []string{"https://a.example", allowed.URL}, StrictOrigin: true}

	b := openBrowser(t, allowed.URL+"/#"+url.QueryEscape(p.url(claims)))
	b.until(`video.videoWidth == 640 && video.currentTime > 1`)
	b.until(`read?.startsWith('200 #EXTM3U')`)

	seen := &seenOrigins{}
	through := seen.proxy(t, p.api)
	media := p.start(claims, "Origin", allowed.URL)
	_, segment, _ := listed(t, media, "Origin", allowed.URL)
	for _, address := range []string{p.url(claims), media, folderOf(media) + segment} {
		address = strings.Replace(address, p.api, through, 1)
		b.until(fmt.Sprintf(`(native(%q, null), true)`, address))
		wait(t, "403 without an origin for "+address, func() bool { return seen.has(address, "", http.StatusForbidden) })
		b.until(fmt.Sprintf(`(native(%q, 'anonymous'), true)`, address))
		wait(t, "200 with the origin for "+address, func() bool {
			return seen.has(address, allowed.URL, http.StatusOK) || seen.has(address, allowed.URL, http.StatusPartialContent)
		})
	}

	b.open(other.URL + "/#" + url.QueryEscape(p.url(claims)))
	b.until(`failed.includes('manifestLoadError 403')`)
	b.until(`read?.startsWith('403 ') && JSON.parse(read.slice(4))[0].error_code == 'playback_auth_error'`)
}

// seenOrigins are the requests that passed a proxy: what was asked for, from
// which origin, and the answer.
type seenOrigins struct {
	mu  sync.Mutex
	all map[string]bool // guarded by mu
}

func (s *seenOrigins) line(uri, origin string, status int) string {
	return fmt.Sprintf("%s from %q: %d", uri, origin, status)
}

func (s *seenOrigins) has(address, origin string, status int) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all[s.line(u.RequestURI(), origin, status)]
}

// proxy is the address of a proxy that notes what passes.
func (s *seenOrigins) proxy(t *testing.T, to string) string {
	t.Helper()
	target, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ModifyResponse = func(r *http.Response) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.all == nil {
			s.all = map[string]bool{}
		}
		s.all[s.line(r.Request.URL.RequestURI(), r.Request.Header.Get("Origin"), r.StatusCode)] = true
		return nil
	}
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	return server.URL
}
