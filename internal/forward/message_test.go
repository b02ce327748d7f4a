package forward

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
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

// A message that is longer than its kind may be is refused by its first bytes, and
// one that only announces its length takes no memory for it.
func TestMessagesAreBounded(t *testing.T) {
	announced := func(kind byte, size int) *reader {
		head := append(binary.BigEndian.AppendUint32(nil, uint32(size)), kind)
		return newReader(bytes.NewReader(append(head, strings.Repeat("x", 1000)...)))
	}
	for kind, most := range map[byte]int{kindHello: 64 << 10, kindTrack: 64 << 10, kindMetadata: 64 << 10, kindEnd: 64 << 10, kindFrame: 9 << 20} {
		r := announced(kind, most)
		if _, _, err := r.next(); err == nil || errors.Is(err, errProtocol) {
			t.Errorf("a message of type %d with %d bytes of which some come: %v", kind, most, err)
		}
		if cap(r.buf) > 600<<10 {
			t.Errorf("%d bytes of memory for 1,000 that came", cap(r.buf))
		}
		if _, _, err := announced(kind, most+1).next(); !errors.Is(err, errProtocol) {
			t.Errorf("a message of type %d with %d bytes: %v", kind, most+1, err)
		}
	}
	w := newWriter(&bytes.Buffer{})
	if err := w.frame(media.Frame{Track: mediatest.Source{Seconds: 1, Size: "160x120"}.Frames(t)[0].Track, Data: make([]byte, 9<<20)}, still{}); err == nil {
		t.Error("a frame was written that no reader takes")
	}
}

// An encoder with more tracks than are remembered has each described again: both
// ends agree on which track a frame is of, and remember no more than 255.
func TestManyTracks(t *testing.T) {
	base := mediatest.Source{Seconds: 1, Size: "160x120", NoAudio: true}.Frames(t)[0]
	var sent bytes.Buffer
	w := newWriter(&sent)
	var tracks []*media.Track
	for n := range 600 {
		track := *base.Track
		track.ID = byte(n) // a number that can be seen at the other end
		tracks = append(tracks, &track)
	}
	order := append(append([]*media.Track{}, tracks...), tracks[0], tracks[599], tracks[300])
	for _, track := range order {
		f := base
		f.Track = track
		if err := w.frame(f, still{}); err != nil {
			t.Fatal(err)
		}
		if len(w.tracks) > maxTracks {
			t.Fatalf("%d tracks are remembered", len(w.tracks))
		}
	}
	r := newReader(&sent)
	for n, track := range order {
		f, err := r.frame()
		if err != nil {
			t.Fatal(err)
		}
		if f.Track.ID != track.ID || !bytes.Equal(f.Track.Config, track.Config) {
			t.Fatalf("frame %d is of track %d, want %d", n, f.Track.ID, track.ID)
		}
	}
}
