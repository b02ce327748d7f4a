package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"
	"github.com/aws/aws-sdk-go-v2/service/ivs/types"
	"github.com/chromedp/chromedp"

	"github.com/millrace/millrace/internal/hls/hlscheck"
)

// switchingPage plays the address in its fragment with hls.js, from the first
// rung, and keeps what goes wrong.
const switchingPage = `<!doctype html><video id="video" muted autoplay playsinline></video>
<script src="/hls.min.js"></script>
<script>
const video = document.querySelector('#video')
window.errors = []
window.hls = new Hls({ lowLatencyMode: true, startLevel: 0 })
hls.on(Hls.Events.ERROR, (_, data) => errors.push(data.details))
hls.loadSource(decodeURIComponent(location.hash.slice(1)))
hls.attachMedia(video)
</script>`

// switchingServer serves switchingPage, with hls.js as npm has it.
func switchingServer(t *testing.T) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, switchingPage)
	})
	mux.HandleFunc("/hls.min.js", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, "../../console/node_modules/hls.js/dist/hls.min.js")
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

// A real player goes up and down the ladder: the picture of each rung is shown,
// time goes on, and the buffer has no hole.
func TestBrowserSwitchesLevels(t *testing.T) {
	for _, container := range []types.ContainerFormat{types.ContainerFormatTs, types.ContainerFormatFragmentedMP4} {
		t.Run(string(container), func(t *testing.T) {
			s := startServer(t, "", withLadder...)
			channel, key := s.channel(awsivs.CreateChannelInput{InsecureIngest: true, ContainerFormat: container})
			publish(t, rtmpURL(s.rtmp, key), slices.Concat(testInputs, testCodecs)...)
			s.live(channel.Arn)
			wait(t, 20*time.Second, "the ladder", func() bool { return len(renditions(t, *channel.PlaybackUrl)) == 2 })

			b := openBrowser(t, switchingServer(t).URL+"/#"+*channel.PlaybackUrl)
			defer b.explain()
			b.until(`window.hls && hls.levels.length == 2 && video.currentTime > 0`)
			from, began := b.number(`video.currentTime`), time.Now()
			for _, level := range []int{1, 0, 1} {
				b.until(fmt.Sprintf(`hls.nextLevel = %d, true`, level))
				b.until(fmt.Sprintf(`hls.currentLevel == %[1]d && video.videoHeight == hls.levels[%[1]d].height`, level))
				at := b.number(`video.currentTime`)
				b.until(fmt.Sprintf(`video.currentTime > %f`, at+1))
				if n := b.number(`video.buffered.length`); n != 1 {
					t.Errorf("level %d: the buffer has %.0f pieces, want 1", level, n)
				}
			}
			played, elapsed := b.number(`video.currentTime`)-from, time.Since(began).Seconds()
			t.Logf("in %.1f s the picture advanced by %.1f s", elapsed, played)
			if played > elapsed+3 {
				t.Errorf("in %.1f s the picture advanced by %.1f s: it has jumped", elapsed, played)
			}
			for _, bad := range []string{"bufferSeekOverHole", "fragParsingError", "bufferAppendError", "levelParsingError", "fragLoadError"} {
				b.until(fmt.Sprintf(`!errors.includes(%q)`, bad))
			}
		})
	}
}

// explain logs the state of the player of a test that has failed.
func (b *browser) explain() {
	if !b.t.Failed() {
		return
	}
	state, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](`JSON.stringify({ errors, levels: hls.levels.map(l => l.height), current: hls.currentLevel,
		time: video.currentTime, ready: video.readyState, buffered: Array.from({ length: video.buffered.length }, (_, i) => [video.buffered.start(i), video.buffered.end(i)]) })`))
	b.t.Logf("the player: %s %v", state, err)
}

// What all renditions of a ladder serve obeys the rules of HLS.
func TestLadderObeysHLS(t *testing.T) {
	s := startServer(t, "", withLadder...)
	channel, key := s.channel(awsivs.CreateChannelInput{InsecureIngest: true})
	publish(t, rtmpURL(s.rtmp, key), slices.Concat(testInputs, testCodecs)...)
	s.live(channel.Arn)
	var found map[string]string
	wait(t, 20*time.Second, "the ladder", func() bool { found = renditions(t, *channel.PlaybackUrl); return len(found) == 2 })
	var history []hlscheck.Fetch
	keep := func(path, address string) []byte {
		status, header, body := get(t, address)
		history = append(history, hlscheck.Fetch{URL: path, Status: status, Header: header, Body: body})
		return body
	}
	fetched := map[string]bool{}
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(300 * time.Millisecond) {
		for name, address := range found {
			keep("/"+name+"/playlist.m3u8", address)
			for _, g := range completeSegments(t, address) {
				if file := fmt.Sprintf("/%s/%d.ts", name, g.msn); !fetched[file] {
					fetched[file] = true
					keep(file, g.uri)
				}
			}
		}
		keep("/index.m3u8", *channel.PlaybackUrl)
	}
	if len(fetched) < 6 {
		t.Errorf("only %d segments were seen", len(fetched))
	}
	for _, problem := range hlscheck.Check(history) {
		t.Errorf("%s: %v\n%.2000s", history[problem.Fetch].URL, problem, history[problem.Fetch].Body)
	}
}
