package console

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/google/go-cmp/cmp"
)

var screenshots = flag.String("screenshots", "", "folder for screenshots of the page")

// tab is one page of a real browser.
type tab struct {
	*testing.T
	ctx context.Context // of the browser; a test's own type may keep it
}

// watch notes on each page what the content policy refuses, and uncaught errors.
const watch = `window.amiss = []
addEventListener('securitypolicyviolation', e => amiss.push('refused: ' + e.violatedDirective + ' ' + e.blockedURI))
addEventListener('error', e => amiss.push('uncaught: ' + e.message))
addEventListener('unhandledrejection', e => amiss.push('uncaught: ' + e.reason))`

func newTab(t *testing.T) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(context.Background(), chromedp.WithAllocatorOptions(append(
		slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.WindowSize(1400, 1000), chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true), chromedp.UserDataDir(t.TempDir()))...))
	t.Cleanup(func() {
		chromedp.Cancel(ctx) // waits for the browser, which writes to its folder until the end
		cancel()
	})
	b := &tab{t, ctx}
	b.do("start a browser", chromedp.Func(script(watch)))
	return b
}

// script runs source on each page before the page's own.
func script(source string) func(context.Context, *chromedp.Target) error {
	return func(ctx context.Context, tab *chromedp.Target) error {
		_, err := cdp.Call(ctx, tab, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: source})
		return err
	}
}

// part is a subtest on the same page.
func (b *tab) part(name string, f func(*tab)) {
	b.Run(name, func(t *testing.T) { f(&tab{t, b.ctx}) })
}

// clean fails the test if anything went wrong on the page.
func (b *tab) clean() {
	b.Helper()
	if amiss := eval[[]string](b, `amiss`); len(amiss) > 0 {
		b.Errorf("on the page: %q", amiss)
	}
}

func (b *tab) do(what string, steps ...chromedp.Action[chromedp.Void]) {
	b.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		b.Fatalf("%s: %v", what, err)
	}
}

func eval[T any](b *tab, expression string) T {
	b.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.Fatalf("%s: %v", expression, err)
	}
	return v
}

// until waits for a JavaScript condition, over a change of page too, and shows
// what the page says if it does not come.
func (b *tab) until(condition string) {
	b.Helper()
	var err error
	if !comes(func() (ok bool) {
		ok, err = chromedp.Run(b.ctx, chromedp.Evaluate[bool]("Boolean("+condition+")"))
		return ok
	}) {
		b.Fatalf("never %s (%v); the page says:\n%s", condition, err, eval[string](b, `document.body.innerText`))
	}
}

// screen makes the page a desk's or a phone's, light or dark.
func (b *tab) screen(width, height int64, scheme string) {
	b.Helper()
	b.do("change the screen", chromedp.EmulateViewport(width, height), chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		_, err := cdp.Call(ctx, tab, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
		return err
	}))
}

// faint lists the texts whose contrast with their ground is below 4.5 (WCAG 2.2,
// 1.4.3). Texts over the video have a background of their own that is nearly opaque.
const faint = `(() => {
	const rgba = css => { const [r, g, b, a = 1] = css.match(/[\d.]+/g).map(Number); return { r, g, b, a } }
	const light = ({ r, g, b }) => [r, g, b].map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
		.reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0)
	const ground = e => { for (; e; e = e.parentElement) { const c = rgba(getComputedStyle(e).backgroundColor); if (c.a > .7) return c } }
	const ratio = (a, b) => (Math.max(light(a), light(b)) + .05) / (Math.min(light(a), light(b)) + .05)
	return [...document.body.querySelectorAll('*')].filter(e => e.checkVisibility() && [...e.childNodes].some(n => n.nodeType == 3 && n.data.trim()))
		.map(e => [e.innerText, ratio(rgba(getComputedStyle(e).color), ground(e))])
		.filter(([, r]) => !(r >= 4.5)).map(([text, r]) => text + ' ' + r.toFixed(2))
})()`

// look checks that the page can be read, in light and dark, on a desk and on
// phones, and keeps screenshots of it if asked to.
func (b *tab) look(name string) {
	b.Helper()
	for _, scheme := range []string{"light", "dark"} {
		for _, size := range [][2]int64{{360, 740}, {390, 844}, {1400, 1000}} {
			b.screen(size[0], size[1], scheme)
			if wide := eval[int64](b, `document.documentElement.scrollWidth`); wide > size[0] {
				b.Errorf("%s: %d px wide on a screen of %d", name, wide, size[0])
			}
			if texts := eval[[]string](b, faint); len(texts) > 0 {
				b.Errorf("%s, %s: too faint: %q", name, scheme, texts)
			}
			if *screenshots != "" {
				b.keep(fmt.Sprintf("%s-%s-%d.png", name, scheme, size[0]))
			}
		}
	}
}

func (b *tab) keep(file string) {
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(*screenshots, file), png, 0o644); err != nil {
		b.Fatal(err)
	}
}

const (
	videoAdvances = `(() => { const v = document.querySelector('#video'), from = window.from ??= v.currentTime;
		return v.currentTime > from + 1 && v.videoWidth == 640 && !document.querySelector('#notice').offsetParent })()`
	latencyShown = `Number(document.querySelector('#latency').dataset.seconds) > 0.1 && Number(document.querySelector('#latency').dataset.seconds) < 15`
)

func stateIs(state string) string {
	return fmt.Sprintf(`document.querySelector('#state').dataset.state == %q`, state)
}

// link is what `millrace demo` prints. The site's token for a key is the key.
func (s *site) link(key, arn string) string {
	return s.URL + "/console/#sign-in=" + key + "&channel=" + arn
}

func TestLiveChannel(t *testing.T) {
	s := newSite(t)
	s.goLive(t)
	b := newTab(t)
	b.do("follow the link", chromedp.Navigate(s.link(accessKey, liveARN)))
	b.until(stateIs("live"))
	b.until(videoAdvances)
	b.until(latencyShown)

	b.part("the secret has left the address bar", func(b *tab) {
		if got, want := eval[string](b, `location.href`), s.URL+"/console/#channel="+liveARN; got != want {
			b.Errorf("address = %q, want %q", got, want)
		}
		if got := eval[string](b, `JSON.parse(sessionStorage.getItem('millrace.credentials')).secret`); got != "a+b/c=" {
			b.Errorf("secret = %q", got)
		}
		if n := eval[int](b, `localStorage.length + document.cookie.length`); n != 0 {
			b.Error("something is kept beyond the tab")
		}
	})
	b.part("what the API says is shown as text", func(b *tab) {
		type shown struct{ Name, First, Viewers, Health, Encoder string }
		got := shown{
			eval[string](b, `document.querySelector('#channel-name').textContent`),
			eval[string](b, `document.querySelector('#channel-list .row-name').textContent`), // the live one, though "a-…" sorts before it
			eval[string](b, `document.querySelector('#viewers').textContent`),
			eval[string](b, `document.querySelector('#health').dataset.health`),
			eval[string](b, `document.querySelector('#ingest dd').textContent`),
		}
		if diff := cmp.Diff(shown{hostile, hostile, "3", "HEALTHY", "obs " + hostile}, got); diff != "" {
			b.Errorf("-want +got:\n%s", diff)
		}
		if eval[bool](b, `'hacked' in window || document.querySelectorAll('img').length != 1`) {
			b.Error("a channel's name became markup")
		}
		events := eval[[]string](b, `[...document.querySelectorAll('#events li')].map(li => li.dataset.name)`)
		if diff := cmp.Diff([]string{"Stream Start", "Session Created"}, events); diff != "" {
			b.Errorf("events: -want +got:\n%s", diff)
		}
	})
	b.look("live")
	b.part("a pause lasts", func(b *tab) {
		eval[bool](b, `document.querySelector('#video').pause() === undefined`)
		const loads = `performance.getEntriesByType('resource').filter(e => e.name.endsWith('/media.m3u8')).length`
		b.until(fmt.Sprintf(loads+` > %d + 2`, eval[int](b, loads)))
		if !eval[bool](b, `document.querySelector('#video').paused`) {
			b.Error("the next playlist ended the pause")
		}
	})
	b.clean()
}

func TestKeyboard(t *testing.T) {
	s := newSite(t)
	s.goLive(t)
	b := newTab(t)
	b.do("follow the link", chromedp.Navigate(s.link(accessKey, liveARN)))
	b.until(videoAdvances)
	b.until(`document.querySelector('#sessions button') && document.querySelector('#charts canvas') && document.querySelector('#unmute').checkVisibility()`)

	reached := map[string]bool{}
	for range 90 {
		b.do("Tab", chromedp.KeyEvent(kb.Tab))
		reached[eval[string](b, `(e => e.id || e.dataset.copy || e.name || e.className || e.tagName)(document.activeElement)`)] = true
	}
	for _, want := range []string{"sign-out", "row", "video", "unmute", "stream-id", "ingest-url", "show-key", "copy-key",
		"ffmpeg", "copy-ffmpeg", "playback-url", "stop", "range", "plot", "older"} {
		if !reached[want] {
			b.Errorf("Tab never reaches %s, only %v", want, reached)
		}
	}

	b.part("the key is shown when asked for", func(b *tab) {
		if eval[bool](b, `document.body.innerText.includes('sk_us-west-2')`) {
			b.Error("the stream key is shown unasked")
		}
		b.do("Enter on Show", chromedp.Focus(chromedp.CSS(`#show-key`)), chromedp.KeyEvent(kb.Enter))
		b.until(`document.querySelector('#stream-key').textContent.startsWith('sk_us-west-2')`)
		command := eval[string](b, `document.querySelector('#ffmpeg').textContent`)
		if want := `'rtmp://127.0.0.1/app/sk_us-west-2_liveLIVElive_it'\''s;$(id)'`; !strings.HasSuffix(command, want) {
			b.Errorf("command = %s, want the URL quoted for a shell: %s", command, want)
		}
	})
	b.part("another channel", func(b *tab) {
		b.do("Enter on its row", chromedp.Focus(chromedp.CSS(`#channel-list li:nth-child(2) button`)), chromedp.KeyEvent(kb.Enter))
		b.until(stateIs("offline"))
		b.until(`document.querySelector('#channel-name').textContent == 'a-quiet-one' && document.activeElement.id == 'channel-name'`)
		b.until(`document.querySelector('#stream-key').textContent.startsWith('•')`)
		b.look("offline")
		b.do("Enter on How to go live", chromedp.Focus(chromedp.CSS(`#how-to`)), chromedp.KeyEvent(kb.Enter))
		b.until(`document.activeElement.id == 'publish'`)
	})
	b.clean()
}
