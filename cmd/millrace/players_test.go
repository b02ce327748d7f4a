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
)

// clockInputs are testInputs with the wall clock across the middle of each frame: ten
// fields, black or white, are the number of 50 ms since 1970, mod 1024.
func clockInputs() []string {
	filter := "testsrc2=size=640x360:rate=30,drawbox=y=ih*0.4:h=ih*0.2:color=black:t=fill"
	for bit := range 10 {
		filter += fmt.Sprintf(",drawbox=x=%d*iw/10:y=ih*0.4:w=iw/10:h=ih*0.2:color=white:t=fill:enable='mod(floor(time(0)*20/%d),2)'", bit, 1<<bit)
	}
	return append([]string{"-re", "-f", "lavfi", "-i", filter}, testInputs[5:]...)
}

// playersPage plays the address in its fragment: the script of a player, and how
// it plays url in the element video. errors lists what goes wrong; age is
// how old the frame that is shown is, in seconds.
const playersPage = `<!doctype html><video id="video" muted autoplay playsinline crossorigin="anonymous" width="320" height="180"></video>
<canvas id="canvas" width="30" height="1"></canvas>
<script src="/script/%[1]s"></script>
<script>
const age = () => {
	const grab = canvas.getContext('2d', { willReadFrequently: true })
	grab.drawImage(video, 0, video.videoHeight * 0.45, video.videoWidth, video.videoHeight * 0.1, 0, 0, 30, 1)
	const pixels = grab.getImageData(0, 0, 30, 1).data
	let clock = 0
	for (let bit = 0; bit < 10; bit++) if (pixels[4 * (3 * bit + 1)] > 128) clock += 2 ** bit
	return (Math.floor(Date.now() / 50) - clock + 1024 * 2 ** 40) %% 1024 / 20
}
const errors = [], video = document.querySelector('video'), url = decodeURIComponent(location.hash.slice(1))
video.addEventListener('error', () => errors.push(video.error.message))
%[2]s
</script>`

// players are those that the page can play with: their scripts as npm has them, and
// the settings that docs/players.md names.
var players = map[string]struct{ file, start string }{
	"video.js": {"video.js/dist/video.min.js", `
		const player = videojs(video, { autoplay: 'muted' })
		player.on('error', () => errors.push(player.error().message))
		player.src({ src: url, type: 'application/x-mpegURL' })`},
	// It also reports how playback is (CMCD).
	"shaka": {"shaka-player/dist/shaka-player.compiled.js", `
		shaka.polyfill.installAll()
		const player = new shaka.Player()
		const { CRITICAL } = shaka.util.Error.Severity
		player.addEventListener('error', ({ detail }) => detail.severity == CRITICAL && errors.push(JSON.stringify(detail)))
		player.configure({ streaming: { lowLatencyMode: true }, manifest: { hls: { sequenceMode: true } }, cmcd: { enabled: true } })
		player.attach(video).then(() => player.load(url)).catch(e => errors.push(String(e)))`},
	"native": {"", `video.src = url`},
}

// servePlayers serves the page of each player under its name.
func servePlayers(t *testing.T) *httptest.Server {
	pages := http.NewServeMux()
	pages.HandleFunc("/{player}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		name := r.PathValue("player")
		fmt.Fprintf(w, playersPage, name, players[name].start)
	})
	pages.HandleFunc("/script/{player}", func(w http.ResponseWriter, r *http.Request) {
		if file := players[r.PathValue("player")].file; file != "" {
			http.ServeFile(w, r, "../../console/node_modules/"+file)
		}
	})
	s := httptest.NewServer(pages)
	t.Cleanup(s.Close)
	return s
}

// Players besides hls.js, which the console has, play a LOW channel in either
// container, with parts and without: time advances, and no error is reported.
func TestBrowserPlaysWithOthers(t *testing.T) {
	pages := servePlayers(t)
	s := startServer(t, "")
	for _, container := range []types.ContainerFormat{types.ContainerFormatTs, types.ContainerFormatFragmentedMP4} {
		channel, key := s.channel(awsivs.CreateChannelInput{InsecureIngest: true, ContainerFormat: container})
		publish(t, rtmpURL(s.rtmp, key), slices.Concat(clockInputs(), testCodecs)...)
		s.live(channel.Arn)
		for _, tt := range []struct{ player, query string }{{"video.js", ""}, {"video.js", "?parts=off"}, {"shaka", ""}, {"native", ""}} {
			t.Run(fmt.Sprint(container, "/", tt.player, tt.query), func(t *testing.T) {
				b := openBrowser(t, pages.URL+"/"+tt.player+"#"+*channel.PlaybackUrl+tt.query)
				defer b.explain()
				b.until(`video.currentTime > 0 && video.videoWidth == 640`)
				at := b.number(`video.currentTime`)
				ages := b.sample(`age()`, 3*time.Second)
				b.until(fmt.Sprintf(`video.currentTime > %f`, at+3))
				slices.Sort(ages) // one that is read while a field changes is anything
				t.Logf("what is shown is %.1f s old", ages[len(ages)/2])
				b.until(`errors.length == 0`)
				if tt.player == "shaka" {
					s := *s
					s.t = t
					wait(t, "what the player reports to be in the health", func() bool {
						var health struct {
							Playback struct{ Reporting, Bitrate float64 }
						}
						s.ask("GET", "/_millrace/channels/"+after(*channel.Arn, ":channel/")+"/health", "", &health)
						return health.Playback.Reporting == 1 && health.Playback.Bitrate > 0
					})
				}
			})
		}
	}
}
