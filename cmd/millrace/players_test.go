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

// videoJSPage plays the address in its fragment with the defaults of video.js.
const videoJSPage = `<!doctype html><video-js id="player" muted autoplay playsinline width="320" height="180"></video-js>
<script src="/video.min.js"></script>
<script>
window.errors = []
window.player = videojs('player', { autoplay: 'muted' })
player.on('error', () => errors.push(player.error().message))
player.src({ src: decodeURIComponent(location.hash.slice(1)), type: 'application/x-mpegURL' })
</script>`

// video.js, as npm has it and with its defaults, plays a LOW channel in either
// container, with parts and without: time goes on.
func TestBrowserPlaysVideoJS(t *testing.T) {
	pages := http.NewServeMux()
	pages.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, videoJSPage)
	})
	pages.HandleFunc("/video.min.js", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, "../../console/node_modules/video.js/dist/video.min.js")
	})
	page := httptest.NewServer(pages)
	defer page.Close()

	s := startServer(t, "")
	for _, container := range []types.ContainerFormat{types.ContainerFormatTs, types.ContainerFormatFragmentedMP4} {
		channel, key := s.channel(awsivs.CreateChannelInput{InsecureIngest: true, ContainerFormat: container})
		publish(t, rtmpURL(s.rtmp, key), slices.Concat(testInputs, testCodecs)...)
		s.live(channel.Arn)
		for _, query := range []string{"", "?parts=off"} {
			t.Run(string(container)+query, func(t *testing.T) {
				b := openBrowser(t, page.URL+"/#"+*channel.PlaybackUrl+query)
				defer b.explain()
				b.until(`window.player && player.currentTime() > 0 && player.videoWidth() == 640`)
				at := b.number(`player.currentTime()`)
				b.until(fmt.Sprintf(`player.currentTime() > %f`, at+8))
				b.until(`errors.length == 0`)
				t.Logf("behind the live edge: %.1f s", b.number(`player.liveTracker.liveCurrentTime() - player.currentTime()`))
			})
		}
	}
}
