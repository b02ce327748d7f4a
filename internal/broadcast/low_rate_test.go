package broadcast_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/media/mediatest"
)

// At 5 frames a second the first part is complete with its first frame, before
// the audio that the encoder has announced comes: the first segment has audio
// all the same, and nothing interrupts the stream.
func TestLowFrameRate(t *testing.T) {
	for name, container := range map[string]hls.Container{"ts": hls.TS, "mp4": hls.FMP4} {
		t.Run(name, func(t *testing.T) {
			all := arrivals(t, mediatest.Source{FrameRate: "5", GOP: 10, Seconds: 10})
			var announced *media.Track
			each(all, false, func(_ int, a *arrival) {
				announced = a.frame.Track
				a.at += 100 * ms
			})
			slices.SortStableFunc(all, func(a, b arrival) int { return int(a.at - b.at) })
			b, p := newPlayer(t, container)
			for _, a := range all {
				if err := b.WriteFrame(a.frame, announced, noon.Add(a.at)); err != nil {
					t.Fatal(err)
				}
				p.look()
			}
			b.CloseSource()
			p.look()
			p.Report(t, "")
			list := string(p.History[len(p.History)-1].Body)
			for _, f := range slices.Backward(p.History) {
				if strings.Contains(f.URL, ".m3u8") {
					list = string(f.Body)
					break
				}
			}
			if strings.Contains(list, "#EXT-X-DISCONTINUITY\n") || !strings.HasSuffix(list, "#EXT-X-ENDLIST\n") {
				t.Errorf("the playlist is\n%s", list)
			}
			first := p.Listed()[0]
			file := filepath.Join(t.TempDir(), "first."+name)
			if err := os.WriteFile(file, append(slices.Clone(p.Body(first.Init)), p.Body(first.Name)...), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command("ffprobe", "-v", "error", "-count_packets", "-show_entries", "stream=codec_type,nb_read_packets", "-of", "csv=p=0", file).CombinedOutput()
			if text := string(out); err != nil || !strings.Contains(text, "video,10\n") || !strings.Contains(text, "audio,") {
				t.Errorf("ffprobe: %v\n%s", err, out)
			}
			if n := p.decode(); n != 50 {
				t.Errorf("%d frames were decoded, want 50", n)
			}
		})
	}
}
