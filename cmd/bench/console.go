//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// loads is how often a page is loaded, each time by a browser without a cache.
const loads = 5

// measured notes on a page what its user waits for, in milliseconds from the
// navigation, how far what is shown moves (cumulative layout shift), and how long
// its scripts block its user in one go beyond 50 ms.
const measured = `
window.measured = { shift: 0, blocked: 0 }
new PerformanceObserver(list => list.getEntries().forEach(e => e.hadRecentInput || (measured.shift += e.value))).observe({ type: 'layout-shift', buffered: true })
new PerformanceObserver(list => list.getEntries().forEach(e => measured.blocked += Math.max(0, e.duration - 50))).observe({ type: 'longtask', buffered: true })
const noted = (name, there) => there() && !(name in measured) && (measured[name] = 0, requestAnimationFrame(() => setTimeout(() => measured[name] = performance.now())))
new MutationObserver(() => {
	noted('rows', () => document.querySelector('#channel-list li'))
	noted('listed', () => document.querySelector('#channel-count')?.textContent)
}).observe(document, { childList: true, subtree: true })`

// A pageLoad holds the figures that a browser reports for one page load.
type pageLoad struct{ Paint, Rows, Listed, Shift, Blocked, Bytes float64 }

const pageLoaded = `({
	paint: performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0, rows: measured.rows ?? 0, listed: measured.listed ?? 0,
	shift: measured.shift, blocked: measured.blocked,
	bytes: [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')].filter(e => /\/(console|watch)\//.test(e.name)).reduce((sum, e) => sum + e.transferSize, 0),
})`

// benchConsole measures how soon the console shows something on a server with so
// many channels, and the viewers' page beside it.
func benchConsole(ctx context.Context, b *bench, channels int) (err error) {
	if err := pinSelf(serverCore, loadCore); err != nil { // a browser needs more than the rest of a core
		return err
	}
	defer func() { err = errors.Join(err, pinSelf(loadCore)) }()
	s, err := startServer(b)
	if err != nil {
		return err
	}
	defer s.stop()
	var first channel
	for n := range channels {
		ch, err := s.createChannel(fmt.Sprintf("channel-%d", n+1), "LOW", "TS")
		if err != nil {
			return err
		}
		if n == 0 {
			first = ch
		}
	}
	watch := s.api + "/watch/" + strings.TrimSuffix(first.playback[strings.LastIndex(first.playback, "/")+1:], ".m3u8")
	for _, page := range []struct {
		name, ready string
		link        func() (string, error)
	}{
		{fmt.Sprintf("the console with %d channels", channels), "measured.listed > 0", func() (string, error) { return s.consoleLink(first.arn) }},
		{"the watch page of a channel that is offline", "document.querySelector('#notice-title').textContent == 'Not live yet'", func() (string, error) { return watch, nil }},
	} {
		var all []pageLoad
		for range loads {
			link, err := page.link()
			if err != nil {
				return err
			}
			one, err := loadPage(ctx, link, page.ready)
			if err != nil {
				return fmt.Errorf("%s: %w", page.name, err)
			}
			all = append(all, one)
		}
		reportLoads(page.name, all)
	}
	return nil
}

// loadPage loads a page into a browser of its own and waits until it is ready.
func loadPage(ctx context.Context, link, ready string) (one pageLoad, err error) {
	tab, stop, err := openBrowser(ctx)
	if err != nil {
		return one, err
	}
	defer stop()
	err = chromedp.Do(tab, chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: measured})
		return err
	}), chromedp.Navigate(link))
	for end := time.Now().Add(30 * time.Second); err == nil; err = sleep(ctx, 100*time.Millisecond) {
		var is bool
		if is, err = chromedp.Run(tab, chromedp.Evaluate[bool]("!!("+ready+")")); is || err != nil {
			break
		}
		if time.Now().After(end) {
			err = errors.New("the page is not ready after 30 s")
		}
	}
	if err == nil {
		err = sleep(ctx, time.Second) // until nothing moves any more
	}
	if err != nil {
		return one, err
	}
	return chromedp.Run(tab, chromedp.Evaluate[pageLoad](pageLoaded))
}

// reportLoads reports the median of each figure, and the worst.
func reportLoads(name string, all []pageLoad) {
	of := func(figure func(pageLoad) float64) string {
		values := make([]float64, 0, len(all))
		for _, one := range all {
			values = append(values, figure(one))
		}
		slices.Sort(values)
		return fmt.Sprintf("%.0f (%.0f)", values[len(values)/2], values[len(values)-1])
	}
	text := "first paint after " + of(func(p pageLoad) float64 { return p.Paint }) + " ms"
	if all[0].Listed > 0 {
		text += ", first channels after " + of(func(p pageLoad) float64 { return p.Rows }) + " ms, all after " + of(func(p pageLoad) float64 { return p.Listed }) + " ms"
	}
	report(name+" in Chromium, nothing cached, median of "+fmt.Sprint(len(all))+" (worst)", "%s; blocked for %s ms, layout shift %s thousandths, %s kB", text,
		of(func(p pageLoad) float64 { return p.Blocked }), of(func(p pageLoad) float64 { return 1000 * p.Shift }), of(func(p pageLoad) float64 { return p.Bytes / 1000 }))
}
