package main

import (
	"context"
	"flag"
	"fmt"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"
	"github.com/aws/aws-sdk-go-v2/service/ivs/types"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/millrace/millrace/internal/api"
	"github.com/millrace/millrace/internal/token"
)

var screenshots = flag.String("screenshots", "", "folder for screenshots of the console, to be looked at")

// A real browser plays a real broadcast from the console, in both containers
// and without parts: the video moves, and its age is known.
func TestBrowserPlays(t *testing.T) {
	for _, tt := range []struct {
		name      string
		container types.ContainerFormat
		latency   types.ChannelLatencyMode
	}{
		{"TS", types.ContainerFormatTs, types.ChannelLatencyModeLowLatency},
		{"fMP4", types.ContainerFormatFragmentedMP4, types.ChannelLatencyModeLowLatency},
		{"plain", types.ContainerFormatTs, types.ChannelLatencyModeNormalLatency},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := startServer(t, "")
			channel, key := s.channel(awsivs.CreateChannelInput{InsecureIngest: true, ContainerFormat: tt.container, LatencyMode: tt.latency})
			publish(t, rtmpURL(s.rtmp, key), slices.Concat(testInputs, testCodecs)...)
			s.live(channel.Arn)

			b := openBrowser(t, s.consoleLink(*channel.Arn))
			b.until(`document.querySelector('#state').dataset.state == 'live'`)
			b.until(`document.querySelector('#video').videoWidth == 640 && document.querySelector('#video').currentTime > 0`)
			const age = `Number(document.querySelector('#latency').dataset.seconds)`
			b.until(age + ` > 0 && 'joined' in document.querySelector('#video').dataset`)
			limit := 5.0 // the channel is LOW: hold-back, a slow machine's start, and no more
			if tt.latency == types.ChannelLatencyModeNormalLatency {
				limit = 15
			}
			// Eight seconds of watching show eight seconds of video. On a busy
			// machine one stalls, or runs to make up for a late start: by a fifth
			// of the time, so for up to 12 s in all.
			for tries := 1; ; tries++ {
				from := b.number(`document.querySelector('#video').currentTime`)
				began := time.Now()
				ages := b.sample(age, 8*time.Second)
				played := b.number(`document.querySelector('#video').currentTime`) - from
				elapsed := time.Since(began).Seconds()
				slices.Sort(ages)
				p50 := ages[len(ages)/2]
				t.Logf("in %.1f s the video advanced by %.1f s; its age: p50 %.2f s, best %.2f s, worst %.2f s", elapsed, played, p50, ages[0], ages[len(ages)-1])
				if math.Abs(played-elapsed) < 1.5 && p50 > 0 && p50 < limit {
					break
				}
				if tries == 8 {
					t.Fatalf("the video does not continue evenly, at most %.0f s old", limit)
				}
			}
			b.until(`document.querySelector('#viewers').textContent == '1'`)
			b.until(`document.querySelectorAll('#events li').length >= 2`)
			if *screenshots != "" {
				b.keep(filepath.Join(*screenshots, tt.name+".png"))
			}
		})
	}
}

// The console plays a private channel with a token of its own. The viewers' page
// plays it with one in its address, also if that is strict about its origin, and stops
// when the viewer is revoked.
func TestBrowserPlaysPrivate(t *testing.T) {
	p := startPrivate(t, testInputs)
	b := openBrowser(t, p.consoleLink(*p.channel.Arn))
	b.until(`document.querySelector('#state').dataset.state == 'live'`)
	b.until(`document.querySelector('#video').videoWidth == 640 && document.querySelector('#video').currentTime > 1`)

	const refused = `document.querySelector('#notice-title').innerText == 'You cannot watch this stream'`
	page := p.watchLink(*p.channel.PlaybackUrl)
	b.open(page)
	b.until(refused)
	b.open(page + "?token=" + p.sign(t, *p.channel.Arn, token.Claims{ViewerID: "v", Origins: []string{p.api}, StrictOrigin: true}))
	b.until(`document.querySelector('#video').videoWidth == 640 && document.querySelector('#video').currentTime > 1`)
	if _, err := p.ivs().StartViewerSessionRevocation(t.Context(), &awsivs.StartViewerSessionRevocationInput{ChannelArn: p.channel.Arn, ViewerId: aws.String("v")}); err != nil {
		t.Fatal(err)
	}
	b.until(refused)
}

// consoleLink returns a link such as `millrace demo` prints, which signs in and selects a
// channel.
func (s *server) consoleLink(arn string) string {
	accessKey := api.AccessKey{AccessKeyID: testKey, SecretAccessKey: testSecret}
	token, err := requestSignIn(s.t.Context(), http.DefaultClient, s.api, "us-west-2", accessKey)
	if err != nil {
		s.t.Fatal(err)
	}
	return consoleLink(s.api, token, arn)
}

// A browser is a headless Chromium with one page open.
type browser struct {
	t     *testing.T
	ctx   context.Context // chromedp's handle on the page
	shown *browserLog
}

// A browserLog has the errors that a browser shows on its console, also those of frames:
// uncaught exceptions, what the content policy refuses, and requests that fail, but for those
// of playlists and media: a page that waits for a stream gets 404 until there is one.
type browserLog struct {
	mu     sync.Mutex
	errors []string // guarded by mu
}

func (b *browserLog) listen(event any) {
	var shown string
	switch e := event.(type) {
	case *log.EventEntryAdded:
		media := strings.Contains(e.Entry.URL, "/api/video/v1/") && !strings.HasSuffix(e.Entry.URL, ".jpg") && !strings.HasSuffix(e.Entry.URL, "/cmcd")
		if e.Entry.Level != log.EntryLevelError || media {
			return
		}
		shown = e.Entry.Text + " " + e.Entry.URL
	case *runtime.EventExceptionThrown:
		shown = "uncaught: " + e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			shown += " " + e.ExceptionDetails.Exception.Description + string(e.ExceptionDetails.Exception.Value)
		}
	case *runtime.EventConsoleAPICalled:
		if e.Type != runtime.ConsoleAPICalledTypeError {
			return
		}
		for _, arg := range e.Args {
			shown += fmt.Sprintf("%s %s ", arg.Value, arg.Description)
		}
	default:
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.errors = append(b.errors, shown)
}

// take returns the errors since the last call.
func (b *browserLog) take() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	errors := b.errors
	b.errors = nil
	return errors
}

func openBrowser(t *testing.T, link string, options ...chromedp.ExecAllocatorOption) *browser {
	t.Helper()
	logged := &browserLog{}
	ctx, cancel := chromedp.NewContext(t.Context(), chromedp.WithListener(logged.listen), chromedp.WithAllocatorOptions(append(append(
		slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.WindowSize(1400, 1100), chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("autoplay-policy", "no-user-gesture-required"),
		chromedp.Flag("ignore-certificate-errors", true), // HTTPS servers of the tests sign their own
		chromedp.UserDataDir(t.TempDir())), options...)...))
	t.Cleanup(func() {
		chromedp.Cancel(ctx) // waits for the browser, which writes to its folder until the end
		cancel()
	})
	b := &browser{t, ctx, logged}
	t.Cleanup(func() { b.clean() })
	b.open(link)
	return b
}

// window opens another window of the browser, which hides none.
func (b *browser) window(link string) (other *browser, shut func()) {
	b.t.Helper()
	ctx, cancel := chromedp.NewContext(b.ctx, chromedp.WithListener(b.shown.listen))
	other = &browser{b.t, ctx, b.shown}
	other.open(link)
	return other, cancel
}

// open goes to a page.
func (b *browser) open(url string) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, chromedp.Navigate(url)); err != nil {
		b.t.Fatalf("opening %s: %v", url, err)
	}
}

// clean fails the test if the browser has shown an error on its console since the last call
// that contains none of the expected texts. That a busy machine's server has no time is
// none, nor that a page of the test itself has no icon. It is called at the end of every
// test that has a browser.
func (b *browser) clean(expected ...string) {
	b.t.Helper()
	expected = append(expected, "status of 503", "/favicon.ico")
	for _, shown := range b.shown.take() {
		if !slices.ContainsFunc(expected, func(text string) bool { return strings.Contains(shown, text) }) {
			b.t.Errorf("on the browser's console: %s", shown)
		}
	}
}

// until waits for a JavaScript condition, over a change of page too.
func (b *browser) until(condition string) {
	b.t.Helper()
	var err error
	defer func() {
		if err != nil {
			b.t.Logf("%s: %v", condition, err)
		}
	}()
	wait(b.t, condition, func() (ok bool) {
		ok, err = chromedp.Run(b.ctx, chromedp.Evaluate[bool]("!!("+condition+")"))
		return ok
	})
}

// eval returns the value of a JavaScript expression on the page.
func eval[T any](b *browser, expression string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.t.Fatalf("%.500s: %v", expression, err)
	}
	return v
}

func (b *browser) number(expression string) float64 {
	b.t.Helper()
	return eval[float64](b, expression)
}

func (b *browser) texts(expression string) []string {
	b.t.Helper()
	return eval[[]string](b, expression)
}

// sample reads a number ten times a second for so long.
func (b *browser) sample(expression string, length time.Duration) (values []float64) {
	b.t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(length); time.Now().Before(end); <-tick.C {
		values = append(values, b.number(expression))
	}
	return values
}

// keep makes a screenshot: of the whole page, or of what a dialog leaves visible.
func (b *browser) keep(file string) {
	b.t.Helper()
	shot := chromedp.FullScreenshot(100)
	if b.number(`document.querySelectorAll('dialog[open]').length`) > 0 {
		shot = chromedp.CaptureScreenshot()
	}
	png, err := chromedp.Run(b.ctx, shot)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(file, png, 0o644); err != nil {
		b.t.Fatal(err)
	}
}
