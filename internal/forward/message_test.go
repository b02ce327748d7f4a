package forward

import (
	"bytes"
	"errors"
	"testing"

	"github.com/millrace/millrace/internal/ingest"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/media/mediatest"
)

// A still is a source that says what it says.
type still struct {
	ingest.Source
	audio *media.Track
}

func (s still) AudioTrack() *media.Track  { return s.audio }
func (s still) Metadata() ingest.Metadata { return ingest.Metadata{Encoder: "e", FrameRate: 25} }
func (s still) Stats() media.InputStats   { return media.InputStats{Joined: 1} }

// FuzzReader reads whatever another node could send. What is read is well-formed,
// and memory grows no faster than what was sent.
func FuzzReader(f *testing.F) {
	frames := mediatest.Source{Seconds: 1, Size: "160x120"}.Frames(f)
	var sent bytes.Buffer
	w := newWriter(&sent)
	w.json(kindHello, greeting{Protocol: "RTMP", StreamKey: "sk_x", RemoteAddr: "192.0.2.1:5"})
	src := still{}
	for _, fr := range frames[:12] {
		if !fr.Track.IsVideo() {
			src.audio = fr.Track
		}
		if err := w.frame(fr, src); err != nil {
			f.Fatal(err)
		}
	}
	w.json(kindEnd, newEnding(errors.New("lost")))
	if err := w.flush(); err != nil {
		f.Fatal(err)
	}
	f.Add(sent.Bytes())
	f.Add([]byte{0, 0, 0, 1, kindEnd})
	f.Add([]byte{0, 0x90, 0, 0, kindFrame, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := newReader(bytes.NewReader(b))
		if _, err := r.hello(); err != nil {
			return
		}
		for {
			fr, err := r.frame()
			if err != nil {
				break
			}
			if fr.Track == nil || !fr.Track.WellFormed(fr.Data) {
				t.Fatalf("a frame of %d bytes", len(fr.Data))
			}
		}
		if cap(r.buf) > 2*len(b)+(512<<10) {
			t.Errorf("%d bytes of memory for %d that were sent", cap(r.buf), len(b))
		}
	})
}
