package console

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/google/go-cmp/cmp"
)

// chart is a JavaScript expression for the chart with a name.
func chart(name string) string {
	return fmt.Sprintf(`[...document.querySelectorAll('#charts figure')].find(f => f.querySelector('.chart-name').textContent == %q)`, name)
}

// drawn is JavaScript for a function of a chart's figure, a variable of the style
// sheet and bounds of opacity (0 to 255): where that colour is drawn, as runs of
// columns between the edges of the plot, which are at 0 and 1. Columns that are
// four pixels apart or less are of one run.
const drawn = `((figure, variable, least, most) => {
	const canvas = figure.querySelector('canvas'), plot = figure.querySelector('.u-over')
	const probe = figure.appendChild(document.createElement('i'))
	probe.style.color = 'var(' + variable + ')'
	const ink = getComputedStyle(probe).color.match(/[\d.]+/g).map(Number)
	probe.remove()
	const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)
	const is = i => data[i + 3] >= least && data[i + 3] <= most && [0, 1, 2].every(k => Math.abs(data[i + k] - ink[k]) < 12)
	const runs = []
	for (let x = 0; x < canvas.width; x++) {
		let y = 0
		while (y < canvas.height && !is(4 * (y * canvas.width + x))) y++
		if (y == canvas.height) continue
		if (runs.at(-1)?.[1] >= x - 4) runs.at(-1)[1] = x + 1
		else runs.push([x, x + 1])
	}
	const scale = canvas.width / canvas.clientWidth
	return runs.map(run => run.map(x => (x / scale - plot.offsetLeft) / plot.clientWidth))
})`

// lines are the runs of a chart's line, and shades those of its shading.
func lines(figure string) string  { return drawn + "(" + figure + ", '--accent', 128, 255)" }
func shades(figure string) string { return drawn + "(" + figure + ", '--bad', 35, 75)" }

// all is JavaScript for a condition that the figure f of each of the five charts meets.
func all(condition string) string {
	return `(figures => figures.length == 5 && figures.every(f => f.querySelector('canvas') && ` + condition + `))([...document.querySelectorAll('#charts figure')])`
}

func text(selector string) string {
	return fmt.Sprintf(`document.querySelector(%q).textContent`, selector)
}

var chartNames = []string{"Video bitrate", "Frame rate", "Audio bitrate", "Key-frame interval", "Viewers"}

func TestHealthOfLiveSession(t *testing.T) {
	s := newSite(t)
	s.goLive(t)
	b := newTab(t)
	b.do("follow the link", chromedp.Navigate(s.link(accessKey, liveARN)))
	b.until(all(lines("f") + ".length == 1"))

	s.checkFigures(b)
	checkCursor(b)
	s.checkTrouble(b)
	b.part("another range", func(b *tab) {
		b.do("choose it", chromedp.Focus(chromedp.CSS(`#range input`)), chromedp.KeyEvent(kb.ArrowRight), chromedp.KeyEvent(kb.ArrowRight))
		b.until(`document.querySelector('#range :checked').value == '0' && ` + all(lines("f")+".length == 1"))
	})
	if eval[bool](b, `'hacked' in window`) {
		b.Error("a sentence became markup")
	}
	b.clean()
}

// checkFigures looks at what the page says in words and in charts.
func (s *site) checkFigures(b *tab) {
	b.part("in words", func(b *tab) {
		b.until(text("#verdict") + ` == 'The video arrives in time: 2.4 Mbit/s, 25 fps.'`)
		b.until(`document.querySelector('#verdict').dataset.tone == 'good'`)
		got := map[string]string{}
		for _, name := range chartNames {
			got[name] = eval[string](b, chart(name)+`.querySelector('.chart-summary').textContent`)
		}
		video := got["Video bitrate"]
		if !strings.Contains(video, " to 171 Mbit/s, ") || !strings.HasSuffix(video, "Mbit/s on average; announced: 2.5 Mbit/s") {
			b.Errorf("video: %q", video)
		}
		want := map[string]string{"Video bitrate": video, "Frame rate": "25 fps throughout; announced: 25 fps",
			"Audio bitrate": "128 kbit/s throughout; announced: 160 kbit/s", "Key-frame interval": "2 s throughout", "Viewers": "3 throughout"}
		if diff := cmp.Diff(want, got); diff != "" {
			b.Errorf("-want +got:\n%s", diff)
		}
	})
	b.part("they move", func(b *tab) {
		const end = `Number(document.querySelector('#charts .plot').getAttribute('aria-valuemax'))`
		before := eval[string](b, chart("Video bitrate")+`.querySelector('canvas').toDataURL()`)
		b.until(fmt.Sprintf(end+` > %d`, eval[int](b, end)+2))
		b.until(fmt.Sprintf(chart("Video bitrate")+`.querySelector('canvas').toDataURL() != %q`, before))
		b.until(all(lines("f") + ".length == 1")) // new points are joined to those before
	})
	b.part("the lines are within the axes", func(b *tab) {
		for _, name := range chartNames {
			if line := eval[[][2]float64](b, lines(chart(name))); line[0][0] < -0.01 || line[0][1] > 1.01 || line[0][1] < 0.9 {
				b.Errorf("%s: the line goes from %.3f to %.3f of the plot", name, line[0][0], line[0][1])
			}
		}
	})
	b.part("only what is new is fetched", func(b *tab) {
		s.mu.Lock()
		asked := slices.Clone(s.asked)
		s.mu.Unlock()
		for _, a := range asked[1:] {
			if a[1]-a[0] > 30 || a[2] != 1 {
				b.Errorf("asked again for %d s at a period of %d s", a[1]-a[0], a[2])
			}
		}
	})
}

// checkCursor moves the cursor of the charts.
func checkCursor(b *tab) {
	b.part("a cursor for the keyboard", func(b *tab) {
		eval[bool](b, chart("Frame rate")+`.querySelector('.plot').focus() === undefined`)
		b.do("arrow", chromedp.KeyEvent(kb.ArrowLeft), chromedp.KeyEvent(kb.PageDown))
		const cursors = `[...document.querySelectorAll('#charts .u-cursor-pt')].filter(e => !e.classList.contains('u-off') && e.getBoundingClientRect().x > e.closest('.u-over').getBoundingClientRect().x)`
		b.until(cursors + `.length == 5`)
		b.until(`/^\d\d:\d\d:\d\d: 25 fps$/.test(document.activeElement.getAttribute('aria-valuetext'))`)
		b.until(`document.activeElement.querySelector('.tip').textContent == document.activeElement.getAttribute('aria-valuetext')`)
		b.look("cursor")
		b.do("Escape", chromedp.KeyEvent(kb.Escape))
		b.until(`![...document.querySelectorAll('#charts .tip')].some(e => e.checkVisibility())`)
		b.until(cursors + `.length == 0`)
	})
	b.part("a cursor for the mouse", func(b *tab) {
		b.screen(1400, 1000, "light")
		at := eval[[]float64](b, `(r => [r.x + r.width / 2, r.y + r.height / 2])((p => (p.scrollIntoView({block: 'center'}), p))(`+chart("Viewers")+`.querySelector('.plot')).getBoundingClientRect())`)
		b.do("point", chromedp.MouseEvent("mouseMoved", at[0], at[1]))
		b.until(chart("Viewers") + `.querySelector('.tip').textContent.endsWith(': 3')`)
	})
}

// checkTrouble has the session fail and starve.
func (s *site) checkTrouble(b *tab) {
	b.part("an error is not well", func(b *tab) {
		s.mu.Lock()
		s.failed = time.Now()
		s.notify()
		s.mu.Unlock()
		b.until(`document.querySelector('#verdict').dataset.tone == 'bad' && document.querySelector('#events li').dataset.kind == 'error'`)
		s.mu.Lock()
		s.failed = time.Time{}
		s.notify()
		s.mu.Unlock()
		b.until(`document.querySelector('#verdict').dataset.tone == 'good'`)
	})
	b.part("starving", func(b *tab) {
		s.starve()
		b.until(`document.querySelector('#health').dataset.health == 'STARVING' && document.querySelector('#verdict').dataset.tone == 'bad'`)
		if got := eval[string](b, text("#verdict")); got != starvingSentence {
			b.Errorf("verdict = %q", got)
		}
		b.until(`document.querySelector('#shade-key').checkVisibility() && ` + all(shades("f")+".length == 1"))
		b.until(`document.querySelector('#events li').dataset.kind == 'warning'`)
		b.look("starving")
	})
}

func TestPastSession(t *testing.T) {
	s := newSite(t)
	s.goLive(t)
	b := newTab(t)
	b.do("follow the link", chromedp.Navigate(s.link(accessKey, liveARN)))
	b.until(videoAdvances)
	b.until(`document.querySelectorAll('#sessions button').length == 2`)
	choose := func(b *tab, row int) {
		b.do("choose a session", chromedp.Focus(chromedp.CSS(fmt.Sprintf(`#sessions li:nth-child(%d) button`, row))), chromedp.KeyEvent(kb.Enter))
	}

	choose(b, 2)
	b.until(`document.querySelector('#stream-id').textContent == 'st-1PastPastPastPastPastPa' && document.activeElement.id == 'channel-name'`)
	b.part("what was wrong", func(b *tab) {
		const want = "The encoder sent more bits a second than the channel allows. Another encoder tried to take over the stream and was refused " +
			"(StreamTakeoverInvalidPriority" + hostile + "). The encoder fell behind once, for 2 min 0 s: viewers saw the video stall. " +
			"Meanwhile it delivered 600 kbit/s of the announced 2.5 Mbit/s."
		b.until(text("#verdict") + `.endsWith('of the announced 2.5 Mbit/s.')`)
		if diff := cmp.Diff(want, eval[string](b, text("#verdict"))); diff != "" {
			b.Errorf("-want +got:\n%s", diff)
		}
		kinds := eval[[]string](b, `[...document.querySelectorAll('#events li')].map(li => li.querySelector('.event-kind').textContent + ':' + li.querySelector('.event-type').textContent)`)
		const state = ":IVS Stream State Change"
		if diff := cmp.Diff([]string{state, state, "Error:IVS Limit Breach", state, "Warning" + state, "Warning" + state, state, state}, kinds); diff != "" {
			b.Errorf("events: -want +got:\n%s", diff)
		}
	})
	b.part("charts with a gap where nothing was measured", func(b *tab) {
		b.until(lines(chart("Video bitrate")) + `.length == 2`)
		b.until(all(shades("f")+".length == 1") + ` && !document.querySelector('#range').checkVisibility()`)
		shade := eval[[][2]float64](b, shades(chart("Viewers")))[0]
		if from, width := shade[0], shade[1]-shade[0]; from < 0.14 || from > 0.16 || width < 0.03 || width > 0.037 { // minutes 9 to 11 of 60
			b.Errorf("starvation is shaded at %.3f for %.3f of the chart", from, width)
		}
	})
	b.part("nothing is of now", func(b *tab) {
		if now := eval[string](b, `[...document.querySelectorAll('#charts .chart-now')].map(e => e.textContent).join('')`); now != "" {
			b.Errorf("beside the names of the charts: %q", now)
		}
	})
	b.part("no video", func(b *tab) {
		if eval[bool](b, `document.querySelector('#playback').checkVisibility() || document.querySelector('#video').readyState > 0`) {
			b.Error("the live video is there, or still plays")
		}
		b.look("past")
	})
	b.part("the address leads back to it", func(b *tab) {
		if got, want := eval[string](b, `location.hash`), "#channel="+liveARN+"&session="+pastStream; got != want {
			b.Errorf("address = %q, want %q", got, want)
		}
		b.do("reload", chromedp.Reload())
		b.until(`document.querySelector('#stream-id').textContent == 'st-1PastPastPastPastPastPa' && ` + all(lines("f")+".length > 0"))
	})
	b.part("one that never went live", func(b *tab) {
		b.do("older ones", chromedp.Focus(chromedp.CSS(`#older`)), chromedp.KeyEvent(kb.Enter))
		b.until(`document.querySelectorAll('#sessions button').length == 3 && !document.querySelector('#older')`)
		choose(b, 3)
		b.until(text("#verdict") + ` == 'This session never went live.'`)
		b.until(chart("Viewers") + `.querySelector('.chart-summary').textContent == 'Nothing was measured in this time.'`)
		b.look("never")
	})
	b.part("back to now", func(b *tab) {
		b.do("Back to now", chromedp.Focus(chromedp.CSS(`#back`)), chromedp.KeyEvent(kb.Enter))
		eval[bool](b, `delete window.from`)
		b.until(videoAdvances)
		if got := eval[string](b, `location.hash`); got != "#channel="+liveARN {
			b.Errorf("address = %q", got)
		}
	})
	b.clean()
}

// An encoder that has connected is not yet a session that never went live.
func TestConnecting(t *testing.T) {
	s := newSite(t)
	s.stream = liveStream
	b := newTab(t)
	b.do("follow the link", chromedp.Navigate(s.link(accessKey, liveARN)))
	b.until(text("#notice-title") + ` == 'An encoder has connected'`)
	b.until(`document.querySelector('#sessions .session-length').textContent == 'connecting' && !document.querySelector('#verdict').checkVisibility()`)
	b.clean()
}

// An event is shown when it happens, not when the page asks the next time.
func TestEventsAreFollowed(t *testing.T) {
	s := newSite(t)
	b := newTab(t)
	b.do("let the page poll no more", chromedp.Func(script(`const real = window.setTimeout
		window.setTimeout = (f, ms, ...more) => ms === 2000 ? 0 : real(f, ms, ...more)`)))
	b.do("follow the link", chromedp.Navigate(s.link(accessKey, liveARN)))
	b.until(stateIs("offline"))
	if !comes(func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.happened) == 1 }) {
		t.Fatal("the page follows no events")
	}
	s.goLive(t)
	b.until(stateIs("live"))
	b.clean()
}

// With a thousand channels the page has a bounded number of rows, fetches the list
// once, by pages, and shows the first page before it has the last. What precedes
// the first paint is little: one stylesheet blocks it, and no player is loaded as long as
// nothing is to be played.
func TestManyChannels(t *testing.T) {
	s := newSite(t)
	s.crowd = 998
	b := newTab(t)
	b.do("note the first row", chromedp.Func(script(`window.shift = 0
	new PerformanceObserver(list => list.getEntries().forEach(e => e.hadRecentInput || (shift += e.value))).observe({ type: 'layout-shift', buffered: true })
	new MutationObserver((_, o) => {
		if (!document.querySelector('#channel-list li')) return
		window.firstRow = performance.now()
		o.disconnect()
	}).observe(document, { childList: true, subtree: true })`)))
	b.do("follow the link", chromedp.Navigate(s.link(accessKey, offlineARN)))
	b.until(text("#channel-count") + ` == '0 of 1000 live'`)
	b.until(`document.querySelectorAll('#channel-list li').length == 200 && document.querySelector('#more-channels').textContent == 'and 800 more'`)
	type page struct {
		Paint, Row, Listed, Pages, Elements, Files, Bytes, Shift float64
		Blocking, Media, Unsized                                 []string
	}
	got := eval[page](b, `(() => {
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
	t.Logf("painted after %.0f ms, the first row there after %.0f ms, all channels known after %.0f ms; %.0f elements", got.Paint, got.Row, got.Listed, got.Elements)
	if got.Paint > 10_000 || got.Paint > got.Listed || got.Row > got.Listed || got.Pages > 10 || got.Elements > 2000 { // a busy machine is slow
		t.Errorf("%+v", got)
	}
	t.Logf("%.0f files, %.0f bytes; what is shown moves by %.4f", got.Files, got.Bytes, got.Shift)
	if got.Files > 6 || got.Bytes < 50_000 || got.Bytes > 150_000 || got.Shift > 0.1 || len(got.Blocking) != 1 || !strings.HasSuffix(got.Blocking[0], ".css") || len(got.Media)+len(got.Unsized) > 0 {
		t.Errorf("%+v", got)
	}
	b.look("many")
	b.do("filter", chromedp.SendKeys(chromedp.CSS(`#filter`), "CROWD 22"))
	b.until(`document.querySelectorAll('#channel-list li').length == 11 && !document.querySelector('#more-channels').textContent`)
	b.do("filter more", chromedp.SendKeys(chromedp.CSS(`#filter`), "x"))
	b.until(`!document.querySelector('#channel-list li') && document.querySelector('#more-channels').textContent == 'No channel matches.'`)
	b.clean()
}

// A broadcast that has parts and no segment yet is not taken for an error, and
// the page does not join again and again as if it were many viewers.
func TestYoungBroadcast(t *testing.T) {
	s := newSite(t)
	s.young = 5
	s.goLive(t)
	b := newTab(t)
	b.do("follow the link", chromedp.Navigate(s.link(accessKey, liveARN)))
	b.until(videoAdvances)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.young != 0 || s.joined > 2 { // a busy machine's player may reload once
		t.Errorf("%d answers without a segment are left; joined %d times", s.young, s.joined)
	}
	b.clean()
}
