package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"
	"github.com/aws/aws-sdk-go-v2/service/ivs/types"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// watchLink is the viewers' page of a channel.
func (s *server) watchLink(playback string) string {
	_, name, _ := strings.Cut(playback, "/api/video/v1/")
	return s.api + "/watch/" + strings.TrimSuffix(name, ".m3u8")
}

// pagePlays holds in a viewers' page that has played for a second.
const pagePlays = `(v => v.currentTime > (window.from ??= v.currentTime) + 1 && v.videoWidth == 640 && !v.paused)(document.querySelector('#video'))
	&& document.querySelector('#player').dataset.state == 'Playing' && document.querySelector('#notice').hidden`

// The viewers' page waits for a stream, plays it, and plays the next one, which
// has another id, without being touched: also where the encoder reconnects.
func TestWatchPage(t *testing.T) {
	s := startServer(t, "")
	channel, key := s.channel(awsivs.CreateChannelInput{InsecureIngest: true, Type: "BASIC"})
	b := openBrowser(t, "about:blank")
	b.script(`window.shift = 0
		new PerformanceObserver(list => list.getEntries().forEach(e => e.hadRecentInput || (shift += e.value))).observe({ type: 'layout-shift', buffered: true })`)
	b.open(s.watchLink(*channel.PlaybackUrl))
	b.until(`document.querySelector('#notice-title').innerText == 'Not live yet'`)
	if moved := b.number(`shift`); moved > 0.1 {
		t.Errorf("what the page shows moves by %.3f", moved)
	}
	if blocking := b.texts(`performance.getEntriesByType('resource').filter(e => e.renderBlockingStatus == 'blocking').map(e => e.name)`); len(blocking) != 1 || !strings.HasSuffix(blocking[0], ".css") {
		t.Errorf("%q block the first paint, want one stylesheet", blocking)
	}
	b.look("watch-offline")

	encoder := publish(t, rtmpURL(s.rtmp, key), slices.Concat(testInputs, testCodecs)...)
	first := s.live(channel.Arn)
	b.until(pagePlays)
	b.until(`document.querySelector('#video').muted && parseFloat(document.querySelector('#latency').innerText) > 0`)
	b.look("watch-live")
	b.tabs()
	// All that a viewer's browser loads before media, as it is sent.
	size := b.number(`[performance.getEntriesByType('navigation')[0], ...performance.getEntriesByType('resource').filter(e => e.name.includes('/console/'))]
		.reduce((sum, e) => sum + e.encodedBodySize, 0)`)
	if size < 100_000 || size > 250_000 {
		t.Errorf("the page weighs %.0f bytes, want at most 250,000", size)
	}
	s.waitForReports(b, *channel.Arn)
	b.until(`(document.querySelector('#unmute').click(), !document.querySelector('#video').muted && document.querySelector('#unmute').hidden)`)
	b.until(`(document.querySelector('#play').click(), document.querySelector('#video').paused && document.querySelector('#play').ariaLabel == 'Play')`)
	b.until(`(document.querySelector('#play').click(), !document.querySelector('#video').paused)`)

	b.clean()
	b.openNatively(s.watchLink(*channel.PlaybackUrl))

	encoder.leave()
	s.ended(channel.Arn, first.StreamId)
	b.until(`document.querySelector('#notice-title').innerText == 'The stream has ended'`)
	b.look("watch-ended")
	encoder = publish(t, rtmpURL(s.rtmp, key), slices.Concat(testInputs, testCodecs)...)
	b.until(`delete window.from`)
	b.until(pagePlays)

	// The encoder loses its connection and is back at once, with another stream.
	second := s.live(channel.Arn)
	b.until(`(performance.clearResourceTimings(), true)`) // it keeps only 250
	encoder.process.Process.Kill()
	publish(t, rtmpURL(s.rtmp, key), slices.Concat(testInputs, testCodecs)...)
	var third types.Stream
	wait(t, "the third stream", func() bool {
		third = s.live(channel.Arn)
		return *third.StreamId != *second.StreamId
	})
	b.until(`performance.getEntriesByType('resource').some(e => e.name.includes('` + *third.StreamId + `'))`)
	b.until(`delete window.from`)
	b.until(pagePlays)
	b.clean()
}

// waitForReports waits until what the page's player reports is in the metrics and in the
// channel's health.
func (s *server) waitForReports(b *browser, arn string) {
	t := b.t
	t.Helper()
	wait(t, "the player's reports in the metrics", func() bool {
		_, _, text := get(t, s.api+"/metrics")
		return strings.Contains(string(text), "millrace_players_reporting 1")
	})
	wait(t, "the player's latency and start in the report of health", func() bool {
		var report struct {
			Playback struct{ Latency, Startup float64 }
		}
		answer := s.call("GET", "/_millrace/channels/"+arn[strings.LastIndexByte(arn, '/')+1:]+"/health")
		if err := json.NewDecoder(answer.Body).Decode(&report); err != nil {
			t.Fatal(err)
		}
		return report.Playback.Latency > 0.1 && report.Playback.Startup > 0
	})
	// A player of the same session posts reports of its own: it starved.
	b.until(`(async () => {
		const media = performance.getEntriesByType('resource').map(e => e.name).findLast(url => url.includes('/playlist.m3u8'))
		const answer = await fetch(new URL('../cmcd', media.split('?')[0]), { method: 'POST', headers: { 'content-type': 'application/cmcd' }, body: 'e=t,sta=p,bl=900,v=2\ne=ps,sta=r,v=2\n' })
		window.posted = answer.status
	})() && window.posted == 204`)
	wait(t, "a stalled player in the metrics", func() bool {
		_, _, text := get(t, s.api+"/metrics")
		return strings.Contains(string(text), "millrace_players_stalled 1")
	})
}

// openNatively opens the page in a browser that plays HLS itself, as iPhones do: it loads the
// playlist of the viewer session that the page has begun, once. Whether Chromium plays that
// depends on how old the stream is. Then the page plays as it did.
func (b *browser) openNatively(link string) {
	b.t.Helper()
	b.script(`if (location.search == '?native') { delete window.MediaSource; delete window.ManagedMediaSource }`)
	b.open(link + "?native")
	b.until(`document.querySelector('#video').src.includes('.m3u8?viewer=')`)
	b.open(link)
	b.until(pagePlays)
}

// amiss is what the content policy refuses on a page, and uncaught errors.
const amiss = `window.amiss = []
addEventListener('securitypolicyviolation', e => amiss.push('refused: ' + e.violatedDirective + ' ' + e.blockedURI))
addEventListener('error', e => amiss.push('uncaught: ' + e.message))
addEventListener('unhandledrejection', e => amiss.push('uncaught: ' + e.reason))`

// open goes to a page, and has it note what goes wrong on it.
func (b *browser) open(url string) {
	b.t.Helper()
	b.script(amiss)
	if err := chromedp.Do(b.ctx, chromedp.Navigate(url)); err != nil {
		b.t.Fatalf("opening %s: %v", url, err)
	}
}

// script runs source on each page from now on, before the page's own scripts.
func (b *browser) script(source string) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		_, err := cdp.Call(ctx, tab, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: source})
		return err
	})); err != nil {
		b.t.Fatal(err)
	}
}

// clean fails the test if anything went wrong on the page, or if the browser has shown an
// error on its console since the last call that contains none of the expected texts. That a
// busy machine's server has no time is none.
func (b *browser) clean(expected ...string) {
	b.t.Helper()
	if found := b.texts(`amiss`); len(found) > 0 {
		b.t.Errorf("on the page: %q", found)
	}
	expected = append(expected, "status of 503")
	for _, shown := range b.shown.take() {
		if !slices.ContainsFunc(expected, func(text string) bool { return strings.Contains(shown, text) }) {
			b.t.Errorf("on the browser's console: %s", shown)
		}
	}
}

func (b *browser) texts(expression string) []string {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[[]string](expression))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// look checks that a page, or the dialog that is open on it, fits a desk and a
// phone and is accessible, as far as axe can judge, and keeps screenshots of it, in
// light and in dark, if asked to.
func (b *browser) look(name string) {
	b.t.Helper()
	axe, err := os.ReadFile("../../console/node_modules/axe-core/axe.min.js")
	if err != nil {
		b.t.Fatalf("%v: run `make build` first", err)
	}
	defer b.resize(int64(b.number(`innerWidth`)))
	for _, screen := range []struct {
		width  int64
		scheme string
	}{{phone, "light"}, {desk, "dark"}} {
		width, scheme := screen.width, screen.scheme
		b.resize(width)
		b.colours(scheme)
		if wide := b.number(`document.documentElement.scrollWidth`); wide > float64(width) {
			b.t.Errorf("%s: %.0f px wide on a screen of %d", name, wide, width)
		}
		if _, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool](string(axe)+`;
			delete window.violations
			axe.run(document.querySelector('dialog[open]') ?? document).then(r => window.violations = r.violations.map(v => v.id + ': ' + v.nodes.map(n => n.target.join(' ')).join(', ')), e => window.violations = [String(e)]), true`)); err != nil {
			b.t.Fatal(err)
		}
		b.until(`'violations' in window`)
		if found := b.texts(`violations`); len(found) > 0 {
			b.t.Errorf("%s, %s, at %d px: axe finds %q", name, scheme, width, found)
		}
		if *screenshots != "" {
			for _, scheme := range []string{"light", "dark"} {
				b.colours(scheme)
				b.keep(filepath.Join(*screenshots, fmt.Sprintf("%s-%s-%d.png", name, scheme, width)))
			}
		}
	}
}

// colours chooses a scheme: light or dark.
func (b *browser) colours(scheme string) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		_, err := cdp.Call(ctx, tab, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
		return err
	})); err != nil {
		b.t.Fatal(err)
	}
}

// resize makes the screen so many pixels wide.
func (b *browser) resize(width int64) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, chromedp.EmulateViewport(width, width/2+400)); err != nil {
		b.t.Fatal(err)
	}
}
