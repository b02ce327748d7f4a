package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"
	"github.com/aws/aws-sdk-go-v2/service/ivs/types"
)

// playerPage is the address of a page that does no more than play with the
// whole of hls.js. (The console has the light one, without metadata.)
func playerPage(t *testing.T, playback string) string {
	mux := http.NewServeMux()
	mux.HandleFunc("/hls.js", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, "../../console/node_modules/hls.js/dist/hls.min.js")
	})
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `<!doctype html><video id="video" muted autoplay></video><script src="/hls.js"></script>
			<script>const h = new Hls(); h.loadSource(%q); h.attachMedia(document.querySelector('#video'))</script>`, playback)
	})
	page := httptest.NewServer(mux)
	t.Cleanup(page.Close)
	return page.URL
}

// Text that an operator puts into a stream is read by hls.js in a real browser,
// in both containers.
func TestMetadataReachesTheBrowser(t *testing.T) {
	for name, container := range map[string]types.ContainerFormat{"TS": types.ContainerFormatTs, "fMP4": types.ContainerFormatFragmentedMP4} {
		t.Run(name, func(t *testing.T) {
			s := startServer(t, "")
			channel, key := s.channel(awsivs.CreateChannelInput{InsecureIngest: true, ContainerFormat: container, Type: types.ChannelTypeBasicChannelType})
			publish(t, rtmpURL(s.rtmp, key), append(testInputs, testCodecs...)...)
			s.live(channel.Arn)
			b := openBrowser(t, playerPage(t, *channel.PlaybackUrl))
			b.until(`document.querySelector('#video').currentTime > 0`)
			put := func(text string) {
				t.Helper()
				if _, err := s.ivs().PutMetadata(t.Context(), &awsivs.PutMetadataInput{ChannelArn: channel.Arn, Metadata: &text}); err != nil {
					t.Fatal(err)
				}
			}
			// hls.js makes its track for the first text, and Chromium empties a
			// track when it has loaded the nothing that is its source.
			put("first")
			b.until(`document.querySelector('#video track')?.readyState == 2`)
			const text = "Größe: 42 ⚽"
			put(text)
			cues := `[...document.querySelector('#video').textTracks].filter(t => t.kind == 'metadata').flatMap(t => [...t.cues ?? []])` +
				`.filter(c => c.value?.key == 'TXXX' && c.value.data == '` + text + `')`
			b.until(cues + `.length > 0`)
			// It belongs to a moment that this viewer is about to see.
			ahead := b.number(cues + `[0].startTime - document.querySelector('#video').currentTime`)
			if ahead < -10 || ahead > 10 {
				t.Errorf("the text is %.1f s ahead of the video", ahead)
			}
		})
	}
}

// An ad break is in the playlist and in the session's history, one at a time.
func TestAdBreak(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	ctx := t.Context()
	ads, err := s.ivs().CreateAdConfiguration(ctx, &awsivs.CreateAdConfigurationInput{MediaTailorPlaybackConfigurations: []types.MediaTailorPlaybackConfiguration{
		{PlaybackConfigurationArn: aws.String("arn:aws:mediatailor:us-west-2:000000000000:playbackConfiguration/demo")}}})
	if err != nil {
		t.Fatal(err)
	}
	channel, key := s.channel(awsivs.CreateChannelInput{InsecureIngest: true, AdConfigurationArn: ads.AdConfiguration.Arn, Type: types.ChannelTypeBasicChannelType})
	publish(t, rtmpURL(s.rtmp, key), append(testInputs, testCodecs...)...)
	stream := s.live(channel.Arn)
	in := &awsivs.InsertAdBreakInput{ChannelArn: channel.Arn, DurationSeconds: aws.Int32(300)}
	out, err := s.ivs().InsertAdBreak(ctx, in)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.ivs().InsertAdBreak(ctx, in); err == nil || !strings.Contains(err.Error(), "ConflictException") {
		t.Errorf("a second break: %v", err)
	}
	var session types.StreamSession
	wait(t, "the event", func() bool {
		got, err := s.ivs().GetStreamSession(ctx, &awsivs.GetStreamSessionInput{ChannelArn: channel.Arn})
		if err != nil {
			t.Fatal(err)
		}
		session = *got.StreamSession
		return *session.TruncatedEvents[0].Name == "Ad Break Inserted"
	})
	if typ := *session.TruncatedEvents[0].Type; typ != "IVS Ad Break State Change" {
		t.Errorf("the event is of type %q", typ)
	}
	wait(t, "the break in the playlist", func() bool {
		_, _, media := playlists(t, *stream.PlaybackUrl)
		return strings.Contains(media, `#EXT-X-DATERANGE:ID="`+*out.AdBreakId+`"`)
	})
}
