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

func text(selector string) string {
	return fmt.Sprintf(`document.querySelector(%q).textContent`, selector)
}

var chartNames = []string{"Video bitrate", "Frame rate", "Audio bitrate", "Key-frame interval", "Viewers"}

func TestHealthOfLiveSession(t *testing.T) {
	s := newSite(t)
	s.goLive(t, "st-1LiveLiveLiveLiveLiveLi")
	b := newTab(t)
	b.do("follow the link", chromedp.Navigate(s.link(accessKey, liveARN)))
	b.until(`document.querySelectorAll('#charts .line').length == 5`)

	s.checkFigures(b)
	checkAxes(b)
	s.checkTrouble(b)
	b.part("another range", func(b *tab) {
		b.do("choose it", chromedp.Focus(chromedp.CSS(`#range input`)), chromedp.KeyEvent(kb.ArrowRight), chromedp.KeyEvent(kb.ArrowRight))
		b.until(`document.querySelector('#range :checked').value == '0' && document.querySelectorAll('#charts .line').length == 5`)
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
		line := eval[string](b, chart("Video bitrate")+`.querySelector('.line').getAttribute('d')`)
		b.until(fmt.Sprintf(end+` > %d`, eval[int](b, end)+2))
		b.until(fmt.Sprintf(chart("Video bitrate")+`.querySelector('.line').getAttribute('d') != %q`, line))
		if n := eval[int](b, `document.querySelectorAll('#charts .line').length`); n != 5 {
			b.Errorf("%d lines in 5 charts: new points are not joined to those before", n)
		}
	})
	b.part("the lines begin at the axis", func(b *tab) {
		if x := eval[[]float64](b, `[...document.querySelectorAll('#charts .line')].map(l => Number(/^M([\d.]+)/.exec(l.getAttribute('d'))[1]))`); slices.Min(x) < 74 {
			b.Errorf("they begin at %v px, the axis is at 74", x)
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

// checkAxes looks at what the charts say of their points.
func checkAxes(b *tab) {
	b.part("the axes have units", func(b *tab) {
		labels := func(name string) []string {
			return eval[[]string](b, `[...`+chart(name)+`.querySelectorAll('svg text[text-anchor=end]')].map(t => t.textContent)`)
		}
		got := map[string][]string{}
		for _, name := range chartNames {
			got[name] = labels(name)
		}
		want := map[string][]string{"Video bitrate": {"0", "2.0 Mbit/s", "4.0 Mbit/s", "6.0 Mbit/s"}, "Frame rate": {"0 fps", "10 fps", "20 fps", "30 fps"},
			"Audio bitrate": {"0", "100 kbit/s", "200 kbit/s"}, "Key-frame interval": {"0 s", "1 s", "2 s", "3 s"}, "Viewers": {"0", "2", "4"}}
		if diff := cmp.Diff(want, got); diff != "" {
			b.Errorf("-want +got:\n%s", diff)
		}
		if times := eval[[]string](b, `[...document.querySelectorAll('#charts figure:first-child svg text[text-anchor=middle]')].map(t => t.textContent)`); len(times) < 2 {
			b.Errorf("times = %q", times)
		}
	})
	b.part("a cursor for the keyboard", func(b *tab) {
		eval[bool](b, chart("Frame rate")+`.querySelector('.plot').focus() === undefined`)
		b.do("arrow", chromedp.KeyEvent(kb.ArrowLeft), chromedp.KeyEvent(kb.PageDown))
		b.until(`document.querySelectorAll('#charts circle.cursor').length == 5`)
		b.until(`/^\d\d:\d\d:\d\d: 25 fps$/.test(document.activeElement.getAttribute('aria-valuetext'))`)
		b.until(`document.activeElement.querySelector('.tip').textContent == document.activeElement.getAttribute('aria-valuetext')`)
		b.look("cursor")
		b.do("Escape", chromedp.KeyEvent(kb.Escape))
		b.until(`!document.querySelector('#charts .cursor')`)
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
		s.tell()
		s.mu.Unlock()
		b.until(`document.querySelector('#verdict').dataset.tone == 'bad' && document.querySelector('#events li').dataset.kind == 'error'`)
		s.mu.Lock()
		s.failed = time.Time{}
		s.tell()
		s.mu.Unlock()
		b.until(`document.querySelector('#verdict').dataset.tone == 'good'`)
	})
	b.part("starving", func(b *tab) {
		s.starve()
		b.until(`document.querySelector('#health').dataset.health == 'STARVING' && document.querySelector('#verdict').dataset.tone == 'bad'`)
		if got := eval[string](b, text("#verdict")); got != starvingSentence {
			b.Errorf("verdict = %q", got)
		}
		b.until(`document.querySelectorAll('#charts .shade').length == 5 && document.querySelector('#shade-key').checkVisibility()`)
		b.until(`document.querySelector('#events li').dataset.kind == 'warning'`)
		b.look("starving")
	})
}

func TestPastSession(t *testing.T) {
	s := newSite(t)
	s.goLive(t, "st-1LiveLiveLiveLiveLiveLi")
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
		b.until(chart("Video bitrate") + `.querySelectorAll('.line').length == 2`)
		b.until(`document.querySelectorAll('#charts .shade').length == 5 && !document.querySelector('#range').checkVisibility()`)
		shade := eval[[]float64](b, `(r => [+r.getAttribute('x'), +r.getAttribute('width')])(document.querySelector('#charts .shade'))`)
		plot := eval[float64](b, `document.querySelector('#charts .plot').clientWidth - 84`)
		if from, width := (shade[0]-74)/plot, shade[1]/plot; from < 0.14 || from > 0.16 || width < 0.03 || width > 0.037 { // minutes 9 to 11 of 60
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
		b.until(`document.querySelector('#stream-id').textContent == 'st-1PastPastPastPastPastPa' && document.querySelectorAll('#charts .line').length > 4`)
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
	s.stream = "st-1LiveLiveLiveLiveLiveLi"
	b := newTab(t)
	b.do("follow the link", chromedp.Navigate(s.link(accessKey, liveARN)))
	b.until(text("#notice-title") + ` == 'An encoder has connected'`)
	b.until(`document.querySelector('#sessions .session-length').textContent == 'connecting' && !document.querySelector('#verdict').checkVisibility()`)
	b.clean()
}

func TestStopStream(t *testing.T) {
	s := newSite(t)
	s.goLive(t, "st-1LiveLiveLiveLiveLiveLi")
	b := newTab(t)
	b.do("follow the link", chromedp.Navigate(s.link(accessKey, liveARN)))
	b.until(stateIs("live"))
	b.do("Enter on Stop", chromedp.Focus(chromedp.CSS(`#stop`)), chromedp.KeyEvent(kb.Enter))
	b.until(`document.querySelector('#stop-dialog').open && document.activeElement.textContent == 'Keep it on air'`)
	if got := eval[string](b, text("#stop-title")); got != "Stop the stream of "+hostile+"?" {
		b.Errorf("question = %q", got)
	}
	b.look("stop")
	b.do("Escape", chromedp.KeyEvent(kb.Escape))
	b.until(`!document.querySelector('#stop-dialog').open && document.activeElement.id == 'stop'`)
	s.mu.Lock()
	if s.stopped != 0 {
		t.Error("stopped though the user thought better of it")
	}
	s.mu.Unlock()
	b.do("stop", chromedp.KeyEvent(kb.Enter), chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.Enter))
	b.until(stateIs("ended"))
	b.until(`!document.querySelector('#stop').checkVisibility()`)
	if s.mu.Lock(); s.stopped != 1 {
		t.Errorf("stopped %d times", s.stopped)
	}
	s.mu.Unlock()
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
	s.goLive(t, "st-1LiveLiveLiveLiveLiveLi")
	b.until(stateIs("live"))
	b.clean()
}

func TestManyChannels(t *testing.T) {
	s := newSite(t)
	s.crowd = 225
	b := newTab(t)
	b.do("follow the link", chromedp.Navigate(s.link(accessKey, offlineARN)))
	b.until(text("#channel-count") + ` == '0 of 227 live'`)
	b.until(`document.querySelectorAll('#channel-list li').length == 200 && document.querySelector('#more-channels').textContent == 'and 27 more'`)
	b.look("many")
	b.do("filter", chromedp.SendKeys(chromedp.CSS(`#filter`), "CROWD 22"))
	b.until(`document.querySelectorAll('#channel-list li').length == 6 && !document.querySelector('#more-channels').textContent`)
	b.do("filter more", chromedp.SendKeys(chromedp.CSS(`#filter`), "x"))
	b.until(`!document.querySelector('#channel-list li') && document.querySelector('#more-channels').textContent == 'No channel matches.'`)
	b.clean()
}

// A broadcast that has parts and no segment yet is not taken for an error, and
// the page does not join again and again as if it were many viewers.
func TestYoungBroadcast(t *testing.T) {
	s := newSite(t)
	s.young = 5
	s.goLive(t, "st-1LiveLiveLiveLiveLiveLi")
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
