package main

import (
	"context"
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
	b.script(queriesAlone)
	b.script(countWaits)
	b.open(s.watchLink(*channel.PlaybackUrl) + "?queries")
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
	s.hearsOfPlayback(b, *channel.Arn)
	b.until(`(document.querySelector('#unmute').click(), !document.querySelector('#video').muted && document.querySelector('#unmute').hidden)`)
	b.until(`(document.querySelector('#play').click(), document.querySelector('#video').paused && document.querySelector('#play').ariaLabel == 'Play')`)
	b.until(`(document.querySelector('#play').click(), !document.querySelector('#video').paused)`)

	b.clean()
	b.playWithSettings(s.watchLink(*channel.PlaybackUrl))
	b.playNatively(s.watchLink(*channel.PlaybackUrl))

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

	// The server is killed, and the page asks until there is one again.
	s.kill()
	b.until(`document.querySelector('#notice-title').innerText == 'Connecting…' && document.querySelector('#notice-text').innerText.includes('keeps trying')`)
	startServer(t, s.data, "--http", strings.TrimPrefix(s.api, "http://"), "--rtmp", s.rtmp)
	publish(t, rtmpURL(s.rtmp, key), slices.Concat(testInputs, testCodecs)...)
	b.until(`delete window.from`)
	b.until(pagePlays)
	b.open("about:blank") // before that server stops, too
	b.clean("net::ERR_")
}

// queriesAlone has a page with that query report its playback only with its requests for
// media (CMCD version 1), until posting is set.
const queriesAlone = `if (location.search == '?queries') {
	const request = fetch
	window.fetch = (address, ...more) => window.posting || !String(address).endsWith('/cmcd') ? request(address, ...more) : Promise.resolve(new Response())
}`

// countWaits counts how often a page's video, once it has begun, waits for media, but for seeks.
const countWaits = `addEventListener('playing', () => window.waits ??= 0, true)
	addEventListener('seeking', () => window.seeks = true, true)
	addEventListener('seeked', () => window.seeks = false, true)
	addEventListener('waiting', () => window.waits >= 0 && !window.seeks && waits++, true)`

// hearsOfPlayback checks that what the page's player reports reaches the metrics, the
// channel's health and the operator: with its requests for media its start and bit rate, and
// that it has stalled, when its network is gone for some seconds, though not when it seeks; and with posts its latency.
// After the stall the page returns to the live edge.
func (s *server) hearsOfPlayback(b *browser, arn string) {
	t := b.t
	t.Helper()
	type report struct {
		Playback struct{ Latency, Startup, Bitrate float64 }
	}
	health := func() (r report) {
		s.ask("GET", "/_millrace/channels/"+after(arn, ":channel/")+"/health", "", &r)
		return r
	}
	metric := func(line string) {
		t.Helper()
		wait(t, line+" in the metrics", func() bool {
			_, _, text := get(t, s.api+"/metrics")
			return strings.Contains(string(text), "\n"+line+"\n")
		})
	}
	metric("millrace_players_reporting 1")
	wait(t, "the player's start and bit rate in the health", func() bool {
		r := health()
		return r.Playback.Startup > 0 && r.Playback.Bitrate > 0
	})
	if r := health(); r.Playback.Latency != 0 {
		t.Errorf("the page has posted a report: %+v", r)
	}

	b.key("l")
	b.until(`document.querySelector('#video').currentTime > (window.sought ??= document.querySelector('#video').currentTime) + 3`)
	_, _, figures := get(t, s.api+"/metrics")
	if b.number(`waits`) == 0 && !strings.Contains(string(figures), "\nmillrace_players_stalled 0\n") {
		t.Error("seeks to the live edge count as stalls")
	}
	at := b.stall()
	metric("millrace_players_stalled 1")
	operator, shut := b.window(s.consoleLink(arn))
	operator.until(`/100 % stalled in the last minute, all on the source rendition\.$/.test(document.querySelector('#verdict')?.innerText)`)
	shut()
	b.until(fmt.Sprintf(`worst > %f && parseFloat(document.querySelector('#latency').innerText) < %[1]f - 0.5`, at+3))
	b.until(`window.posting = true`)
	wait(t, "the player's latency in the health", func() bool { return health().Playback.Latency > 0.1 })
}

// stall takes the page's network away until it has stalled for 4 s, and returns the latency
// before that. worst is the largest since.
func (b *browser) stall() (latency float64) {
	b.t.Helper()
	const shown = `parseFloat(document.querySelector('#latency').innerText)`
	b.until(`document.querySelector('#video').playbackRate == 1`) // a busy machine's start may have been late
	latency = b.number(shown)
	b.until(`window.worst = 0, setInterval(() => worst = Math.max(worst, ` + shown + `), 100)`)
	b.offline(true)
	b.until(`document.querySelector('#player').dataset.state == 'Buffering'`)
	b.until(`performance.now() > (window.stalled ??= performance.now()) + 4000`)
	b.offline(false)
	b.until(`document.querySelector('#player').dataset.state == 'Playing'`)
	return latency
}

// playWithSettings opens the page with what its address may ask for: audio and a distance from
// the live edge, and a start by hand.
func (b *browser) playWithSettings(link string) {
	b.t.Helper()
	const latency = `parseFloat(document.querySelector('#latency').innerText)`
	b.until(`document.querySelector('#video').currentTime > 12`) // the stream is long enough
	b.open(link + "?muted=false&t=6")
	b.until(pagePlays)
	b.until(`!document.querySelector('#video').muted && document.querySelector('#unmute').hidden && ` + latency + ` > 5`)
	b.until(`!('edge' in document.querySelector('#player').dataset)`)
	b.key("l")
	b.until(`'edge' in document.querySelector('#player').dataset && ` + latency + ` < 5`)
	b.open(link + "?autoplay=false")
	b.until(`document.querySelector('#start').checkVisibility() && document.querySelector('#player').dataset.state == 'Ready'`)
	if at := b.number(`document.querySelector('#video').currentTime`); at != 0 {
		b.t.Errorf("without autoplay the page plays, and is at %.1f s", at)
	}
	b.click("#start")
	b.until(pagePlays)
	b.clean()
}

// playNatively plays in a browser that plays HLS itself, as iPhones do: with the playlist of the
// viewer session that the page has begun, and so as one viewer. Chromium's own player gives up
// where it comes to the end of the playlist; the page then starts it again. At last the page plays
// as it did.
func (b *browser) playNatively(link string) {
	b.t.Helper()
	b.script(`if (location.search == '?native') { delete window.MediaSource; delete window.ManagedMediaSource }`)
	b.open(link + "?native")
	b.until(`document.querySelector('#video').src.includes('.m3u8?viewer=')`)
	b.until(`document.querySelector('#player').dataset.state == 'Playing' && document.querySelector('#video').videoWidth == 640 && document.querySelector('#video').played.length > 0
		&& document.querySelector('#video').played.end(0) - document.querySelector('#video').played.start(0) > 1`)
	b.until(`performance.getEntriesByType('resource').some(e => e.name.endsWith('/cmcd') && e.responseStatus == 204)`)
	b.clean()
	b.open(link)
	b.until(pagePlays)
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

// faint lists the texts whose contrast with their background is below 4.5 (WCAG 2.2,
// 1.4.3), also where axe cannot tell, as over the video. Those that are drawn over it
// have a background of their own that is nearly opaque.
const faint = `(() => {
	const rgba = css => { const [r, g, b, a = 1] = css.match(/[\d.]+/g).map(Number); return { r, g, b, a } }
	const light = ({ r, g, b }) => [r, g, b].map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
		.reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0)
	const background = e => { for (; e; e = e.parentElement) { const c = rgba(getComputedStyle(e).backgroundColor); if (c.a > .7) return c } }
	const ratio = (a, b) => (Math.max(light(a), light(b)) + .05) / (Math.min(light(a), light(b)) + .05)
	return [...document.body.querySelectorAll('*')].filter(e => e.checkVisibility() && !e.closest(':disabled, [aria-disabled=true]') && [...e.childNodes].some(n => n.nodeType == 3 && n.data.trim()))
		.map(e => [e.innerText, ratio(rgba(getComputedStyle(e).color), background(e))])
		.filter(([, r]) => !(r >= 4.5)).map(([text, r]) => text + ' ' + r.toFixed(2))
})()`

// look checks that a page, or the dialog that is open on it, fits a desk and phones and is
// accessible, as far as axe can judge, and that its texts can be read in light and in dark.
// It keeps screenshots if asked to.
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
		axe    bool
	}{{phone, "light", true}, {desk, "light", false}, {narrow, "light", false}, {phone, "dark", false}, {desk, "dark", true}} {
		b.resize(screen.width)
		b.colours(screen.scheme)
		shown := fmt.Sprintf("%s, %s, at %d px", name, screen.scheme, screen.width)
		if wide := b.number(`document.documentElement.scrollWidth`); wide > float64(screen.width) {
			b.t.Errorf("%s: %.0f px wide", shown, wide)
		}
		if texts := b.texts(faint); len(texts) > 0 {
			b.t.Errorf("%s: too faint: %q", shown, texts)
		}
		if screen.axe {
			b.accessible(shown, string(axe))
		}
		if *screenshots != "" {
			b.keep(filepath.Join(*screenshots, fmt.Sprintf("%s-%s-%d.png", name, screen.scheme, screen.width)))
		}
	}
}

// accessible has axe, whose script is given, judge the page or the dialog that is open.
func (b *browser) accessible(shown, axe string) {
	b.t.Helper()
	eval[bool](b, axe+`;
		delete window.violations
		axe.run(document.querySelector('dialog[open]') ?? document).then(r => window.violations = r.violations.map(v => v.id + ': ' + v.nodes.map(n => n.target.join(' ')).join(', ')), e => window.violations = [String(e)]), true`)
	b.until(`'violations' in window`)
	if found := b.texts(`violations`); len(found) > 0 {
		b.t.Errorf("%s: axe finds %q", shown, found)
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
