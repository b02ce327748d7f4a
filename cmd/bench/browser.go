//go:build linux

package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"time"

	"github.com/chromedp/chromedp"
)

//go:embed browser.html
var browserPage []byte

// joins is how often a browser comes to the stream: how old the frame is, is
// mostly decided when it does.
const joins = 5

// benchBrowser measures how old the frame is that a browser shows: with hls.js
// as it comes, without any setting, and in the console, which has the same and
// skips once to the place that hls.js names as the live edge.
func benchBrowser(ctx context.Context, b *bench, container string) (err error) {
	player, err := os.ReadFile(b.hlsjs)
	if err != nil {
		return fmt.Errorf("hls.js for the browser: %w", err)
	}
	if err := pinSelf(serverCore, loadCore); err != nil { // a browser needs more than the rest of a core
		return err
	}
	defer func() { err = errors.Join(err, pinSelf(loadCore)) }()
	s, ch, stop, err := startBroadcast(ctx, b, "LOW", container, "640x360", "1000")
	if err != nil {
		return err
	}
	defer stop()

	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { w.Write(browserPage) })
	mux.HandleFunc("/hls.js", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/javascript")
		w.Write(player)
	})
	pages := httptest.NewServer(mux)
	defer pages.Close()
	plain := pages.URL + "/?play=" + url.QueryEscape(s.api+ch.playback)
	for _, page := range []struct {
		name       string
		link       func() (string, error)
		age, state string
	}{
		{"hls.js with its defaults", func() (string, error) { return plain, nil }, "age()", "state()"},
		{"the console", func() (string, error) { return s.consoleLink(ch.arn) }, "Number(document.querySelector('#latency').dataset.seconds || 0)", "document.querySelector('#buffer').textContent"},
	} {
		var ages []float64 // of each join, the median
		state := ""
		for range joins {
			link, err := page.link()
			if err != nil {
				return err
			}
			age, text, err := joinOnce(ctx, link, page.age, page.state)
			if err != nil {
				return err
			}
			ages, state = append(ages, age), text
		}
		slices.Sort(ages)
		report("frame's age in Chromium, "+page.name+", "+container, "median of %d joins %.2f s (%.2f to %.2f); %s", joins, ages[joins/2], ages[0], ages[joins-1], state)
	}
	return nil
}

// consoleLink signs in to the console, once, and leads to a channel.
func (s *server) consoleLink(arn string) (string, error) {
	var out struct{ Token string }
	if err := s.call("_millrace/sign-in-tokens", map[string]any{}, &out); err != nil {
		return "", err
	}
	return s.api + "/console/#sign-in=" + out.Token + "&channel=" + url.QueryEscape(arn), nil
}

// openBrowser starts a browser that has nothing in its cache, and waits until its
// own start is over.
func openBrowser(ctx context.Context) (page context.Context, stop func(), err error) {
	profile, err := os.MkdirTemp("", "millrace-bench-browser-")
	if err != nil {
		return nil, nil, err
	}
	page, closePage := chromedp.NewContext(ctx, chromedp.WithAllocatorOptions(append(
		slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.Flag("disable-component-update", true),
		chromedp.Flag("autoplay-policy", "no-user-gesture-required"), chromedp.UserDataDir(profile))...))
	stop = func() {
		chromedp.Cancel(page)
		closePage()
		os.RemoveAll(profile)
	}
	if err = chromedp.Do(page, chromedp.Navigate("about:blank")); err == nil {
		err = sleep(ctx, time.Second)
	}
	if err != nil {
		stop()
		return nil, nil, err
	}
	return page, stop, nil
}

// joinOnce opens a page in a browser of its own and returns the median of the
// frame's age, and the page's word on its state at the end.
func joinOnce(ctx context.Context, link, age, state string) (median float64, text string, err error) {
	page, stop, err := openBrowser(ctx)
	if err != nil {
		return 0, "", err
	}
	defer stop()
	if err := chromedp.Do(page, chromedp.Navigate(link)); err != nil {
		return 0, "", err
	}
	if err := sleep(ctx, 3*time.Second); err != nil {
		return 0, "", err
	}
	var ages []float64
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); {
		v, err := chromedp.Run(page, chromedp.Evaluate[float64](age))
		if err != nil {
			return 0, "", err
		}
		ages = append(ages, v)
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return 0, "", err
		}
	}
	if text, err = chromedp.Run(page, chromedp.Evaluate[string](state)); err != nil {
		return 0, "", err
	}
	slices.Sort(ages)
	if ages[0] <= 0 {
		return 0, "", errors.New("the browser showed no video")
	}
	return ages[len(ages)/2], text, nil
}
