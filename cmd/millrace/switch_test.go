package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"
	"github.com/aws/aws-sdk-go-v2/service/ivs/types"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/chromedp"

	"github.com/millrace/millrace/internal/hls/hlscheck"
)

// switchingPage plays the address in its fragment with hls.js, from the first rung, and
// keeps what goes wrong. On a slow connection hls.js measures only the last part of each
// segment; with its own half-lives of 3 s and 9 s it would take half a minute to believe
// what it measures. It counts its own work as time on the line, so it goes up with little
// to spare. A decoder that a busy machine starves is helped by smaller steps than a jump
// that the test looks for.
const switchingPage = `<!doctype html><video id="video" muted autoplay playsinline></video>
<script src="/hls.min.js"></script>
<script>
const video = document.querySelector('#video')
window.errors = []
window.hls = new Hls({ lowLatencyMode: true, startLevel: 0, abrEwmaFastLive: 0.5, abrEwmaSlowLive: 1, abrBandWidthUpFactor: 0.95, nudgeOffset: 0.05 })
window.jump = 0 // the most seconds by which the video has run ahead of the clock
let last
setInterval(() => {
  const now = [performance.now() / 1000, video.currentTime]
  if (last) jump = Math.max(jump, now[1] - last[1] - (now[0] - last[0]))
  last = now
}, 50)
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

// playEveryRung has a real player go up and down the ladder: the video of each
// rung is shown, time advances, and the buffer has no hole. Audio alone is played
// from its own playlist, since hls.js takes no notice of it beside video.
// The levels are switched as hls.js does by itself: with the next media that it
// loads. (nextLevel throws away what is buffered, and part of what is loading.)
func playEveryRung(t *testing.T, playback string, found map[string]string) {
	t.Helper()
	withVideo := len(found)
	if _, ok := found["audio_only"]; ok {
		withVideo--
	}
	b := openBrowser(t, switchingServer(t).URL+"/#"+playback)
	defer b.explain()
	b.until(fmt.Sprintf(`window.hls && hls.levels.length == %d && video.currentTime > 0`, withVideo))
	b.until(`last = undefined, jump = 0, true`)
	for n := range 2 * withVideo {
		level := min(n, 2*withVideo-1-n)
		b.until(fmt.Sprintf(`hls.loadLevel = %d, true`, level))
		b.until(fmt.Sprintf(`hls.currentLevel == %[1]d && video.videoHeight == hls.levels[%[1]d].height`, level))
		at := b.number(`video.currentTime`)
		b.until(fmt.Sprintf(`video.currentTime > %f`, at+0.5))
		b.until(`video.buffered.length == 1`)
	}
	if jump := b.number(`jump`); jump > 0.2 {
		t.Errorf("the video jumped by %.3f s", jump)
	}
	b.noErrors()
	if address, ok := found["audio_only"]; ok {
		b.until(fmt.Sprintf(`hls.loadSource(%q), true`, address))
		b.until(`hls.levels.length == 1 && video.videoHeight == 0 && video.currentTime > 0 && video.buffered.length == 1`)
		at := b.number(`video.currentTime`)
		b.until(fmt.Sprintf(`video.currentTime > %f`, at+1))
	}
}

// noErrors fails if the player has met what a switch must not lead to.
func (b *browser) noErrors() {
	b.t.Helper()
	for _, bad := range []string{"bufferSeekOverHole", "fragParsingError", "bufferAppendError", "levelParsingError", "fragLoadError"} {
		b.until(fmt.Sprintf(`!errors.includes(%q)`, bad))
	}
}

// A player on a slow connection goes down the ladder, and up again on a fast one. When
// ffmpeg dies, all renditions that it has are interrupted: the video continues by itself
// when they come back.
func TestBrowserAdapts(t *testing.T) {
	s := startServer(t, "", withLadder...)
	channel, key := s.channel(awsivs.CreateChannelInput{InsecureIngest: true})
	grain := slices.Clone(testInputs)
	grain[4] += ",noise=alls=20:allf=t" // so that the rungs take the bits that they may
	publish(t, rtmpURL(s.rtmp, key), slices.Concat(grain, testCodecs)...)
	s.live(channel.Arn)
	wait(t, "the ladder", func() bool { return len(renditions(t, *channel.PlaybackUrl)) == 2 })

	b := openBrowser(t, switchingServer(t).URL+"/#"+*channel.PlaybackUrl)
	defer b.explain()
	b.until(`window.hls && hls.levels.length == 2 && hls.autoLevelEnabled && video.currentTime > 0`)
	began := time.Now()
	for _, line := range []struct{ kbits, level int }{{20_000, 1}, {500, 0}, {20_000, 1}} {
		b.throttle(line.kbits)
		b.until(fmt.Sprintf(`hls.currentLevel == %[1]d && video.videoHeight == hls.levels[%[1]d].height`, line.level))
		t.Logf("%.1f s: level %d at %d kbit/s", time.Since(began).Seconds(), line.level, line.kbits)
	}
	b.noErrors()

	killProcess(ffmpegOf(t, s))
	s.waitLog("transcoding failed; retrying")
	at := b.number(`video.currentTime`)
	b.until(fmt.Sprintf(`video.currentTime > %f && !video.paused && video.readyState > 2`, at+10))
}

// networkConditions slow a page's network down. Older browsers know only this
// command for it.
type networkConditions struct {
	Offline            bool    `json:"offline"`
	Latency            float64 `json:"latency"`            // ms
	DownloadThroughput float64 `json:"downloadThroughput"` // bytes a second
	UploadThroughput   float64 `json:"uploadThroughput"`
}

var emulateNetworkConditions = cdp.Command[networkConditions, cdp.Empty]{Method: "Network.emulateNetworkConditions"}

// throttle limits the bandwidth of the page, in kbit/s.
func (b *browser) throttle(kbits int) {
	b.t.Helper()
	bytes := float64(kbits) * 1000 / 8
	if err := chromedp.Do(b.ctx, chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		_, err := cdp.Call(ctx, tab, emulateNetworkConditions, networkConditions{Latency: 20, DownloadThroughput: bytes, UploadThroughput: bytes})
		return err
	})); err != nil {
		b.t.Fatalf("a line of %d kbit/s: %v", kbits, err)
	}
}

// explain logs the state of the player of a test that has failed.
func (b *browser) explain() {
	if !b.t.Failed() {
		return
	}
	state, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](`JSON.stringify({ errors,
		hls: typeof hls == 'undefined' ? undefined : { levels: hls.levels.map(l => l.height), current: hls.currentLevel, bandwidth: hls.bandwidthEstimate },
		time: video.currentTime, ready: video.readyState, buffered: Array.from({ length: video.buffered.length }, (_, i) => [video.buffered.start(i), video.buffered.end(i)]) })`))
	b.t.Logf("the player: %s %v", state, err)
}

// What all renditions of a ladder serve to players that follow it obeys the
// rules of HLS.
func TestLadderObeysHLS(t *testing.T) {
	for _, tt := range []struct {
		name       string
		channel    awsivs.CreateChannelInput
		renditions int
	}{
		{"TS with audio alone", awsivs.CreateChannelInput{InsecureIngest: true, Type: types.ChannelTypeAdvancedSDChannelType}, 3},
		{"fMP4", awsivs.CreateChannelInput{InsecureIngest: true, ContainerFormat: types.ContainerFormatFragmentedMP4}, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := startServer(t, "", withLadder...)
			channel, key := s.channel(tt.channel)
			publish(t, rtmpURL(s.rtmp, key), slices.Concat(testInputs, testCodecs)...)
			s.live(channel.Arn)
			var found map[string]string
			wait(t, "the ladder", func() bool { found = renditions(t, *channel.PlaybackUrl); return len(found) == tt.renditions })
			f := &follower{t: t, fetched: map[string]bool{}}
			began := time.Now()
			for time.Since(began) < 8*time.Second || f.segments < 3*len(found) && time.Since(began) < patience {
				f.keep("/index.m3u8", *channel.PlaybackUrl)
				for name, address := range found {
					f.look("/"+name+"/", address)
				}
			}
			if f.segments < 3*len(found) || f.parts < 15*len(found) {
				t.Errorf("only %d segments and %d parts were seen", f.segments, f.parts)
			}
			for _, problem := range hlscheck.Check(f.history) {
				t.Errorf("%s: %v\n%.2000s", f.history[problem.Fetch].URL, problem, f.history[problem.Fetch].Body)
			}
		})
	}
}

// A follower fetches what a player of low latency does, and keeps it for the
// checker.
type follower struct {
	t               *testing.T
	history         []hlscheck.Fetch
	fetched         map[string]bool
	segments, parts int
}

func (f *follower) keep(path, address string) string {
	status, header, body := get(f.t, address)
	f.history = append(f.history, hlscheck.Fetch{URL: path, Status: status, Header: header, Body: body})
	return string(body)
}

var (
	mediaSequence = regexp.MustCompile(`#EXT-X-MEDIA-SEQUENCE:(\d+)`)
	mediaName     = regexp.MustCompile(`(?m)^#EXT-X-MAP:URI="(.*?)"|^#EXT-X-PART:.*URI="(.*?)"|^([^#\s].*)$`)
)

// look fetches the playlist at address, the one that comes next, whole and as a
// delta, and all media that it has not.
func (f *follower) look(folder, address string) {
	text := f.keep(folder+"playlist.m3u8", address)
	first := mediaSequence.FindStringSubmatch(text)
	if first == nil {
		f.t.Fatalf("%s:\n%s", address, text)
	}
	msn, _ := strconv.Atoi(first[1])
	msn += strings.Count(text, "#EXTINF")
	last := strings.Split(text, "#EXTINF")
	query := fmt.Sprintf("?_HLS_msn=%d&_HLS_part=%d", msn, strings.Count(last[len(last)-1], "#EXT-X-PART:"))
	f.keep(folder+"playlist.m3u8"+query+"&_HLS_skip=YES", address+query+"&_HLS_skip=YES")
	text = f.keep(folder+"playlist.m3u8"+query, address+query)
	for _, m := range mediaName.FindAllStringSubmatch(text, -1) {
		name := m[1] + m[2] + m[3]
		if f.fetched[folder+name] {
			continue
		}
		f.fetched[folder+name] = true
		f.keep(folder+name, strings.TrimSuffix(address, "playlist.m3u8")+name)
		if m[2] != "" {
			f.parts++
		} else if m[3] != "" {
			f.segments++
		}
	}
}
