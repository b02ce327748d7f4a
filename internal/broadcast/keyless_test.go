package broadcast_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/media/mediatest"
)

// An encoder is in the middle of a group of frames when it begins to publish, and its
// next key frame comes 8 s later: nothing is shown of the frames before it, no viewer is
// let in, and the stream begins with it, with video and audio.
func TestBeginsWithKeyFrame(t *testing.T) {
	for name, container := range map[string]hls.Container{"ts": hls.TS, "mp4": hls.FMP4} {
		t.Run(name, func(t *testing.T) {
			b, p := newPlayer(t, container)
			var announced *media.Track
			early, shown := int64(0), 0
			for _, a := range arrivals(t, mediatest.Source{GOP: 240, Seconds: 16}) {
				switch video := a.frame.Track.IsVideo(); {
				case !video:
					announced = a.frame.Track
				case a.frame.Key && a.at < time.Second:
					continue // it was sent before the encoder began to publish
				case a.frame.Key || shown > 0:
					shown++
				default:
					early++
				}
				at := noon.Add(a.at)
				if err := b.WriteFrame(a.frame, announced, at); err != nil {
					t.Fatal(err)
				}
				if begun := shown > 0; !begun && b.Ready(at) || (b.Tracks() != nil) != begun {
					t.Fatalf("after %v, ready is %t, the tracks are %v; the key frame has come: %t", a.at, b.Ready(at), b.Tracks(), begun)
				}
				p.look()
			}
			if !b.Ready(noon.Add(16 * time.Second)) {
				t.Error("no viewer is let in")
			}
			b.CloseSource()
			p.look()
			p.Report(t, "")
			if early != 239 || b.Stats().Dropped != early {
				t.Errorf("%d frames were dropped of %d before the key frame", b.Stats().Dropped, early)
			}
			if n := p.decode(); n != shown {
				t.Errorf("%d frames were decoded, want %d", n, shown)
			}
			for _, f := range p.History {
				if strings.HasSuffix(f.URL, ".m3u8") && bytes.Contains(f.Body, []byte("#EXT-X-DISCONTINUITY\n")) {
					t.Fatalf("the stream was interrupted:\n%s", f.Body)
				}
			}
			first := p.Listed()[0]
			if audio := mediatest.AudioTimes(t, name, append(bytes.Clone(p.Body(first.Init)), p.Body(first.Name)...)); len(audio) < 40 {
				t.Errorf("the first segment has %d frames of audio", len(audio))
			}
		})
	}
}
