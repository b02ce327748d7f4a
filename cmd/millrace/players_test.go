package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"
	"github.com/aws/aws-sdk-go-v2/service/ivs/types"
)

// playersPage plays the address in its fragment: the script of a player, and how
// that is told to play url in the element video. errors is what goes wrong.
const playersPage = `<!doctype html><video id="video" muted autoplay playsinline width="320" height="180"></video>
<script src="/script/%[1]s"></script>
<script>
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
	"shaka": {"shaka-player/dist/shaka-player.compiled.js", `
		shaka.polyfill.installAll()
		const player = new shaka.Player()
		const { CRITICAL } = shaka.util.Error.Severity
		player.addEventListener('error', ({ detail }) => detail.severity == CRITICAL && errors.push(JSON.stringify(detail)))
		player.configure({ streaming: { lowLatencyMode: true }, manifest: { hls: { sequenceMode: true } } })
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
// container, with parts and without: time goes on, and nothing goes wrong.
func TestBrowserPlaysWithOthers(t *testing.T) {
	pages := servePlayers(t)
	s := startServer(t, "")
	for _, container := range []types.ContainerFormat{types.ContainerFormatTs, types.ContainerFormatFragmentedMP4} {
		channel, key := s.channel(awsivs.CreateChannelInput{InsecureIngest: true, ContainerFormat: container})
		publish(t, rtmpURL(s.rtmp, key), slices.Concat(testInputs, testCodecs)...)
		s.live(channel.Arn)
		for _, tt := range []struct{ player, query string }{{"video.js", ""}, {"video.js", "?parts=off"}, {"shaka", ""}, {"native", ""}} {
			t.Run(fmt.Sprint(container, "/", tt.player, tt.query), func(t *testing.T) {
				b := openBrowser(t, pages.URL+"/"+tt.player+"#"+*channel.PlaybackUrl+tt.query)
				defer b.explain()
				b.until(`video.currentTime > 0 && video.videoWidth == 640`)
				at := b.number(`video.currentTime`)
				b.until(fmt.Sprintf(`video.currentTime > %f`, at+6))
				b.until(`errors.length == 0`)
			})
		}
	}
}
