package main

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/millrace/millrace/internal/playback"
)

// elsewhere is a name under which browsers of the tests reach this machine. They trust it
// less than loopback, as they do every address of a network over plain HTTP.
const elsewhere = "millrace.test"

func knowsElsewhere() chromedp.ExecAllocatorOption {
	return chromedp.Flag("host-resolver-rules", "MAP "+elsewhere+" 127.0.0.1")
}

// A detour is another way to a server: under another name, at another port, cut off at will,
// and with an answer for viewers of its own while it is busy.
type detour struct {
	*httptest.Server
	url       string
	off, busy atomic.Bool
}

func newDetour(t *testing.T, to string) *detour {
	target, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target) // leaves Host as it is
	proxy.FlushInterval = -1
	proxy.ErrorLog = log.New(t.Output(), "", 0)
	d := &detour{}
	d.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if d.off.Load() {
			panic(http.ErrAbortHandler)
		}
		if d.busy.Load() && strings.HasPrefix(r.URL.Path, playback.Root) {
			http.Error(w, "busy", http.StatusServiceUnavailable)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	d.url = strings.Replace(d.URL, "127.0.0.1", elsewhere, 1)
	t.Cleanup(func() {
		d.CloseClientConnections() // the feed of events has no end
		d.Close()
	})
	return d
}

// cut ends all connections, and lets none through until it is mended.
func (d *detour) cut() {
	d.off.Store(true)
	d.CloseClientConnections()
}

func (d *detour) mend() { d.off.Store(false) }

// operatorIsElsewhere opens the console of a server that was not told its public name from
// another machine, and sees what it says when the way is cut off.
func operatorIsElsewhere(b *consoleTest) {
	way := newDetour(b.t, b.api)
	b.open(way.url + "/console/")
	b.signIn()
	b.until(`document.querySelector('#channel-name')?.innerText == 'demo' && document.querySelector('#state').dataset.state == 'live' && document.querySelector('#video').currentTime > 1`)
	shown := b.texts(`['#ingest-url', '#playback-url', '#watch-url'].map(id => document.querySelector(id).innerText)`)
	if _, port, _ := strings.Cut(b.rtmp, ":"); shown[0] != fmt.Sprintf("rtmp://%s:%s/app/", elsewhere, port) ||
		!strings.HasPrefix(shown[1], way.url+"/api/video/v1/") || !strings.HasPrefix(shown[2], way.url+"/watch/") {
		b.t.Errorf("from another machine, the console names %q", shown)
	}
	way.busy.Store(true)
	b.open(shown[2])
	b.until(`document.querySelector('#notice-text').innerText == 'The server is busy. This page keeps trying.'`)
	way.busy.Store(false)
	b.until(playing)
	b.clean()

	b.open(way.url + "/console/")
	const problem = `document.querySelector('#problem').innerText`
	b.until(`document.querySelector('#state')?.dataset.state == 'live' && !document.querySelector('#edit-channel').disabled && !` + problem)
	way.cut()
	b.until(problem + `.startsWith('The server does not answer. Trying again every 2 seconds')`)
	b.press("#edit-channel")
	b.until(`[...document.querySelectorAll('dialog .wrong')].filter(e => e.innerText.startsWith('The list cannot be loaded: The server does not answer')).length == 3`)
	b.press("dialog .dialog-buttons .plain:not(.danger)")
	b.show("view=events")
	b.until(`document.querySelector('#feed .wrong')?.innerText == 'Not connected, trying again: The server does not answer.'`)
	b.show("view=overview")
	b.until(`document.querySelector('#machine .wrong')?.innerText.startsWith('The server does not answer')`)
	way.mend()
	b.until(`!` + problem + ` && document.querySelector('#machine meter')`)
	b.open("about:blank") // before the way ends
	b.clean("net::ERR_")
}

// signIn signs in by the form.
func (c *consoleTest) signIn() {
	c.t.Helper()
	c.write("#key", testKey)
	c.write("#secret", testSecret)
	c.press("#signin-form button")
}
