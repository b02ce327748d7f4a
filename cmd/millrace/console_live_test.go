package main

import (
	"context"
	"fmt"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/store"
)

// A channel in the console, from the moment in which its encoder connects: what the API
// says of it, its video, its health, and its past.
func TestConsoleChannel(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	p := writePast(t, data)
	pattern, err := recordTestPattern(t.Context(), testPattern{Size: "640x360", FPS: 30, Bitrate: 400})
	if err != nil {
		t.Fatal(err)
	}
	pattern.metadata.Encoder = "obs " + hostile
	s := startServer(t, data)
	c := &consoleTest{s, openBrowser(t, "about:blank"), t}
	ctx, leave := context.WithCancel(t.Context())
	encoder := &heldSource{paced: &paced{source: pattern.loop()}, holds: []hold{{0, make(chan struct{})}, {1500 * time.Millisecond, make(chan struct{})}}}
	connect := func() { go publishTo(ctx, rtmpURL(s.rtmp, p.key), encoder, nil) } // ends with the test
	c.run(
		consolePart{"start", desk, func(c *consoleTest) { p.starts(c, connect, encoder.holds) }},
		consolePart{"texts", desk, p.showsTexts},
		consolePart{"keyboard", desk, p.obeysKeyboard},
		consolePart{"past", desk, p.showsPast},
		consolePart{"health", desk, showsHealth},
		consolePart{"thousand", desk, func(c *consoleTest) { p.listsThousand(c, leave) }},
	)
}

// A hold keeps frames from a time on until it is opened.
type hold struct {
	at   time.Duration
	open chan struct{}
}

// A heldSource waits at its holds. What comes behind one is as much later.
type heldSource struct {
	*paced
	holds []hold
	last  time.Duration
}

func (h *heldSource) ReadFrame() (media.Frame, error) {
	if len(h.holds) > 0 && h.last >= h.holds[0].at {
		reached := time.Now()
		<-h.holds[0].open
		if !h.began.IsZero() {
			h.began = h.began.Add(time.Since(reached))
		}
		h.holds = h.holds[1:]
	}
	f, err := h.paced.ReadFrame()
	h.last = f.DTS - h.first
	return f, err
}

// consolePlays holds in a console whose video has advanced by a second.
const consolePlays = `(v => v.currentTime > (window.from ??= v.currentTime) + 1 && v.videoWidth == 640 && !document.querySelector('#notice').offsetParent)(document.querySelector('#video'))`

// observed notes the addresses that a page has requested.
const observed = `window.requested = []
new PerformanceObserver(list => requested.push(...list.getEntries().map(e => e.name))).observe({ type: 'resource', buffered: true })`

// unpolled has a page with that query poll no more, and note when it follows the events of
// the server, and which playlists it reads: how often the multivariant one, and how many
// others that have parts and no segment yet.
const unpolled = `if (location.search == '?unpolled') {
	const later = setTimeout, request = fetch, { open } = XMLHttpRequest.prototype
	window.setTimeout = (f, ms, ...more) => ms === 2000 ? 0 : later(f, ms, ...more)
	window.fetch = async (address, ...more) => {
		const answer = await request(address, ...more)
		if (String(address).startsWith('/_millrace/events')) window.follows = answer.ok
		return answer
	}
	window.joined = window.young = 0
	XMLHttpRequest.prototype.open = function (method, address, ...more) {
		if (/\/[^/]*\.channel\.[^/]*\.m3u8/.test(address)) joined++
		else if (address.includes('.m3u8')) this.addEventListener('load', () => young += this.responseText.includes('#EXT-X-PART:') && !this.responseText.includes('#EXTINF:'))
		return open.call(this, method, address, ...more)
	}
}`

// starts has an encoder connect, and then send. The page shows that when it happens, not
// when it asks the next time. A session without a frame is not yet one that never went
// live. A stream that has parts and no segment is not taken for an error, and the page does
// not join it again and again, as if it were many viewers.
func (p past) starts(b *consoleTest, connect func(), holds []hold) {
	b.script(observed)
	b.script(unpolled)
	b.open(strings.Replace(b.consoleLink(p.channel), "/console/#", "/console/?unpolled#", 1))
	b.until(`window.follows && document.querySelector('#notice-title').textContent == 'This channel is offline'`)
	connect()
	b.until(`document.querySelector('#notice-title').textContent == 'An encoder has connected'`)
	b.until(`document.querySelector('#sessions .session-length').textContent == 'connecting' && !document.querySelector('#verdict').checkVisibility()`)
	close(holds[0].open)
	b.until(`document.querySelector('#state').dataset.state == 'live'`)
	b.until(`young > 0`)
	close(holds[1].open)
	b.until(consolePlays)
	if joined := b.number(`joined`); joined < 1 || joined > 2 { // a busy machine's player may reload once
		b.t.Errorf("the page has joined the stream %.0f times", joined)
	}
}

// showsTexts checks that secrets leave the address bar, that what the API says is shown
// as text, and that a pause lasts.
func (p past) showsTexts(b *consoleTest) {
	b.open(b.consoleLink(p.channel))
	b.until(`document.querySelector('#state').dataset.state == 'live'`)
	b.until(consolePlays)
	b.until(`(s => s > 0.1 && s < 15)(Number(document.querySelector('#latency').dataset.seconds))`)

	got := b.texts(`[location.href, JSON.parse(sessionStorage.getItem('millrace.credentials')).secret, localStorage.length + document.cookie]`)
	if diff := cmp.Diff([]string{b.api + "/console/#channel=" + p.channel, testSecret, "0"}, got); diff != "" {
		b.t.Errorf("the address and what is kept: -want +got:\n%s", diff)
	}
	b.until(`document.querySelector('#viewers').textContent == '1' && document.querySelector('#health').dataset.health == 'HEALTHY'`)
	got = b.texts(`['#channel-name', '#channel-list .row-name', '#ingest dd'].map(e => document.querySelector(e).textContent)`)
	if diff := cmp.Diff([]string{hostile, hostile, "obs " + hostile}, got); diff != "" { // the live channel is the first, though "a-…" sorts before it
		b.t.Errorf("-want +got:\n%s", diff)
	}
	if eval[bool](b.browser, `'hacked' in window || document.querySelectorAll('img').length != 1`) {
		b.t.Error("a channel's name became markup")
	}
	events := strings.Join(b.texts(`[...document.querySelectorAll('#events li')].map(li => li.dataset.name)`), ", ")
	if !regexp.MustCompile(`^(Starvation End, )?(Starvation Start, Starvation End, )*(Starvation Start, )?Stream Start, Session Created$`).MatchString(events) { // it had to wait
		b.t.Errorf("events: %s", events)
	}
	b.look("console-channel")

	const playlists = `requested.filter(address => address.includes('/playlist.m3u8')).length`
	b.until(`(document.querySelector('#video').pause(), true)`)
	b.until(fmt.Sprintf(playlists+` > %f`, b.number(playlists)+2))
	if !eval[bool](b.browser, `document.querySelector('#video').paused`) {
		b.t.Error("the next playlists ended the pause")
	}
	b.until(`(document.querySelector('#video').play(), true)`)
}

// obeysKeyboard uses the page of a live channel with the keyboard alone.
func (p past) obeysKeyboard(b *consoleTest) {
	for _, control := range []string{"#sign-out", ".row", "#video", "#unmute", "#show-key", "#copy-key", "#ffmpeg", "#copy-ffmpeg", "#stop", "#range input:checked", ".plot", "#older",
		"[data-copy=stream-id]", "[data-copy=ingest-url]", "[data-copy=playback-url]"} {
		b.until(fmt.Sprintf(`document.querySelector(%q)?.checkVisibility()`, control))
	}
	b.tabs()

	if eval[bool](b.browser, `document.body.innerText.includes('sk_us-west-2')`) {
		b.t.Error("the stream key is shown unasked")
	}
	b.enter("#show-key")
	b.until(fmt.Sprintf(`document.querySelector('#stream-key').textContent == %q`, p.key))
	command := b.texts(`[document.querySelector('#ffmpeg').textContent]`)[0]
	address, err := exec.Command("sh", "-c", "printf %s "+command[strings.LastIndex(command, " '")+1:]).Output()
	if want := rtmpURL(b.rtmp, p.key); err != nil || string(address) != want {
		b.t.Errorf("to a shell the command %s publishes to %q (%v), want %q", command, address, err, want)
	}

	b.enter("#channel-list li:nth-child(2) .row")
	b.until(`document.querySelector('#state').dataset.state == 'offline' && document.querySelector('#channel-name').textContent == 'a-quiet-one' && document.activeElement.id == 'channel-name'`)
	b.until(`document.querySelector('#stream-key').textContent.startsWith('•')`)
	b.look("console-offline")
	b.enter("#how-to")
	b.until(`document.activeElement.id == 'publish'`)
}

// showsHealth looks at what the page says of the live stream in words and in charts.
func showsHealth(b *consoleTest) {
	// The charts show at least half a minute, and their lines reach the present.
	b.until(allCharts(`(runs => runs.length == 1 && runs[0][0] > -0.01 && runs[0][1] > 0.9 && runs[0][1] < 1.01)(` + lineRuns("f") + `)`))
	b.until(`/^Video arrives in time: 0\.\d Mbit\/s, \d+ frames per second\./.test(document.querySelector('#verdict').textContent) && document.querySelector('#verdict').dataset.tone == 'good'`)
	const some = `(throughout|to .* on average)`
	for name, want := range map[string]string{
		"Video bitrate": some + `; announced: 391 kbit/s$`, "Audio bitrate": some + `; announced: 125 kbit/s$`,
		"Frame rate": some + `; announced: 30 fps$`, "Key-frame interval": `^2 s throughout$`, "Viewers": `^\d ` + some + `$`,
	} {
		if got := b.texts(`[` + chart(name) + `.querySelector('.chart-summary').textContent]`)[0]; !regexp.MustCompile(want).MatchString(got) {
			b.t.Errorf("%s: %q, want %s", name, got, want)
		}
	}

	const end = `Number(document.querySelector('#charts .plot').getAttribute('aria-valuemax'))`
	before := b.texts(`[` + chart("Video bitrate") + `.querySelector('canvas').toDataURL()]`)[0]
	b.until(fmt.Sprintf(end+` > %f`, b.number(end)+2))
	b.until(fmt.Sprintf(chart("Video bitrate")+`.querySelector('canvas').toDataURL() != %q`, before))
	b.until(allCharts(lineRuns("f") + ".length == 1")) // new points are joined to those before
	checkAsked(b)
	checkCursor(b)

	// Another range. The session is younger than either.
	b.until(`(document.querySelector('#range :checked').focus(), true)`)
	b.key(kb.ArrowRight)
	b.key(kb.ArrowRight)
	b.until(`document.querySelector('#range :checked').value == '0' && ` + allCharts(lineRuns("f")+".length == 1"))
	if eval[bool](b.browser, `'hacked' in window`) {
		b.t.Error("a text became markup")
	}
}

// checkAsked checks that the page has fetched what was measured of the live stream once:
// each request begins where the one before ended, less some seconds that may have changed.
func checkAsked(b *consoleTest) {
	const again = 10 // seconds
	var asked [][2]int64
	for _, address := range b.texts(`requested.filter(address => address.includes('/metrics?') && address.includes('streamId=' + document.querySelector('#stream-id').textContent))`) {
		u, err := url.Parse(address)
		if err != nil {
			b.t.Fatal(err)
		}
		q := u.Query()
		start, _ := strconv.ParseInt(q.Get("start"), 10, 64)
		end, err := strconv.ParseInt(q.Get("end"), 10, 64)
		if err != nil || q.Get("period") != "1" {
			b.t.Errorf("the page asks for %s", address)
		}
		asked = append(asked, [2]int64{start, end})
	}
	for i := 1; i < len(asked); i++ {
		if asked[i][0] < asked[i-1][1]-again {
			b.t.Errorf("after the seconds %d the page has asked for %d", asked[i-1], asked[i])
		}
	}
	if n := len(asked); n < 2 || asked[n-1][0]-asked[0][0] < again {
		b.t.Errorf("what the page has asked for proves nothing: %d", asked)
	}
}

// checkCursor moves the cursor of the charts with the keyboard and the mouse.
func checkCursor(b *consoleTest) {
	b.until(`(` + chart("Frame rate") + `.querySelector('.plot').focus(), true)`)
	b.key(kb.ArrowLeft)
	b.key(kb.PageDown)
	const cursors = `[...document.querySelectorAll('#charts .u-cursor-pt')].filter(e => !e.classList.contains('u-off') && e.getBoundingClientRect().x > e.closest('.u-over').getBoundingClientRect().x)`
	b.until(cursors + `.length == 5`)
	b.until(`/^\d\d:\d\d:\d\d: \d+ fps$/.test(document.activeElement.getAttribute('aria-valuetext'))`)
	b.until(`document.activeElement.querySelector('.tip').textContent == document.activeElement.getAttribute('aria-valuetext')`)
	b.look("console-cursor")
	b.key(kb.Escape)
	b.until(`![...document.querySelectorAll('#charts .tip')].some(e => e.checkVisibility()) && ` + cursors + `.length == 0`)

	at := eval[[2]float64](b.browser, `(r => [r.x + r.width / 2, r.y + r.height / 2])((p => (p.scrollIntoView({ block: 'center' }), p))(`+chart("Viewers")+`.querySelector('.plot')).getBoundingClientRect())`)
	if err := chromedp.Do(b.ctx, chromedp.MouseEvent("mouseMoved", at[0], at[1])); err != nil {
		b.t.Fatal(err)
	}
	b.until(chart("Viewers") + `.querySelector('.tip').textContent.match(/: \d$/)`)
}

// listsThousand has the channel end, and makes 998 more. The page has a bounded number of
// rows, fetches the list once, by pages, and shows the first page before it has the last.
// What precedes the first paint is little: one stylesheet blocks it, and no player is
// loaded as long as nothing is to be played.
func (p past) listsThousand(b *consoleTest, leave func()) {
	stream := b.server.live(&p.channel)
	leave()
	b.ended(&p.channel, stream.StreamId)
	addChannels(b, 998)
	b.script(`window.shift = 0
	new PerformanceObserver(list => list.getEntries().forEach(e => e.hadRecentInput || (shift += e.value))).observe({ type: 'layout-shift', buffered: true })
	new MutationObserver((_, o) => {
		if (!document.querySelector('#channel-list li')) return
		window.firstRow = performance.now()
		o.disconnect()
	}).observe(document, { childList: true, subtree: true })`)
	b.open("about:blank")
	b.open(b.consoleLink(p.quiet))
	b.until(`document.querySelector('#channel-count').textContent == '0 of 1000 live'`)
	b.until(`document.querySelectorAll('#channel-list li').length == 200 && document.querySelector('#more-channels').textContent == 'and 800 more'`)
	checkFirstPaint(b)
	b.look("console-thousand")
	b.write("#filter", "CROWD-22")
	b.until(`document.querySelectorAll('#channel-list li').length == 11 && !document.querySelector('#more-channels').textContent`)
	b.write("#filter", "CROWD-22x")
	b.until(`!document.querySelector('#channel-list li') && document.querySelector('#more-channels').textContent == 'No channel matches.'`)
}

func checkFirstPaint(b *consoleTest) {
	type page struct {
		Paint, Row, Listed, Pages, Elements, Files, Bytes, Shift float64
		Blocking, Media, Unsized                                 []string
	}
	got := eval[page](b.browser, `(() => {
		const lists = performance.getEntriesByType('resource').filter(e => e.name.endsWith('/ListChannels'))
		const files = performance.getEntriesByType('resource').filter(e => e.name.includes('/console/'))
		return {
			Files: new Set(files.map(e => e.name)).size, Bytes: files.reduce((sum, e) => sum + e.encodedBodySize, 0), Shift: shift,
			Blocking: files.filter(e => e.renderBlockingStatus == 'blocking').map(e => e.name), Media: files.filter(e => /hls|player/.test(e.name)).map(e => e.name),
			Unsized: [...document.images].filter(e => !e.width || !e.height).map(e => e.outerHTML),
			Paint: performance.getEntriesByName('first-contentful-paint')[0].startTime, Row: firstRow, Listed: lists.slice(0, 10).at(-1).responseEnd,
			Pages: lists.filter(e => e.startTime < lists[0].startTime + 10_000).length, Elements: document.querySelectorAll('*').length,
		}
	})()`)
	b.t.Logf("painted after %.0f ms, the first row there after %.0f ms, all channels known after %.0f ms; %.0f elements", got.Paint, got.Row, got.Listed, got.Elements)
	if got.Paint > 10_000 || got.Paint > got.Listed || got.Row > got.Listed || got.Pages > 10 || got.Elements > 2000 { // a busy machine is slow
		b.t.Errorf("%+v", got)
	}
	b.t.Logf("%.0f files, %.0f bytes; what is shown moves by %.4f", got.Files, got.Bytes, got.Shift)
	if got.Files > 6 || got.Bytes < 50_000 || got.Bytes > 150_000 || got.Shift > 0.1 || len(got.Blocking) != 1 || !strings.HasSuffix(got.Blocking[0], ".css") || len(got.Media)+len(got.Unsized) > 0 {
		b.t.Errorf("%+v", got)
	}
}

// addChannels adds channels to the server's database.
func addChannels(b *consoleTest, count int) {
	db, err := store.Open(b.t.Context(), filepath.Join(b.data, "millrace.db"))
	if err != nil {
		b.t.Fatal(err)
	}
	defer db.Close()
	for n := range count {
		c := ivs.NewChannel(testScope.Account, testScope.Region)
		c.Name = fmt.Sprint("crowd-", n)
		if err := db.CreateChannel(b.t.Context(), c, ivs.NewStreamKey(testScope.Account, testScope.Region, c.ARN)); err != nil {
			b.t.Fatal(err)
		}
	}
}
