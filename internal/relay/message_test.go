package relay

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/hls"
)

// FuzzReader applies whatever another node could send. Nothing of it breaks a
// playlist, and memory grows no faster than what was sent.
func FuzzReader(f *testing.F) {
	var sent bytes.Buffer
	w := &writer{w: &sent}
	say := func(v any, media string) {
		body := io.NewSectionReader(strings.NewReader(media), 0, int64(len(media)))
		if err := w.write(v, body); err != nil {
			f.Fatal(err)
		}
	}
	head := &headJSON{Number: 3, Date: time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)}
	say(greeting{LowLatency: true, TargetDuration: 2 * time.Second, Container: hls.FMP4}, "")
	say(change{Kind: "added", Rendition: "source", Added: &addedJSON{Label: "720p30", Discontinuities: 1}}, "")
	say(change{Kind: "init", Rendition: "source", Init: &initJSON{Bytes: []byte("moov")}}, "")
	say(change{Kind: "breaks", AdBreaks: []adBreakJSON{{ID: "x", Date: head.Date, Length: time.Second}}}, "")
	say(change{Kind: "gap", Rendition: "source", Head: head, Duration: time.Second}, "")
	say(change{Kind: "part", Rendition: "source", Head: &headJSON{Number: 6, Date: head.Date}, Part: &partJSON{Number: 1, End: time.Second, Duration: time.Second, Target: time.Second}}, "media")
	say(change{Kind: "ended", Rendition: "source", Duration: time.Second}, "")
	say(change{Kind: "spare", Rendition: "source", Fallback: true}, "")
	say(change{Kind: "closed", Rendition: "source"}, "")
	f.Add(sent.Bytes())
	f.Add([]byte{0, 0x20, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		in := &reader{r: bytes.NewReader(b)}
		var g greeting
		if _, err := in.read(&g); err != nil {
			return
		}
		s, err := g.stream()
		if err != nil {
			return
		}
		defer s.Release()
		c := newReplica(s)
		for {
			var m change
			media, err := in.read(&m)
			if err == nil {
				err = c.take(&m, media)
			}
			if err != nil {
				break
			}
		}
		if in.buf.Cap() > 2*len(b)+4096 {
			t.Errorf("%d bytes of memory for %d that were sent", in.buf.Cap(), len(b))
		}
		for line := range strings.Lines(string(s.Multivariant(""))) {
			if !strings.HasPrefix(line, "#EXT") && !strings.HasSuffix(line, "/playlist.m3u8\n") {
				t.Errorf("a line of the multivariant playlist: %q", line)
			}
		}
	})
}

// The form of messages is the protocol's, which other versions speak: a change of it
// is a new version of that. Kinds may be added, which older versions skip.
func TestMessageForm(t *testing.T) {
	date := time.Date(2026, 7, 1, 12, 0, 0, 123456789, time.UTC)
	for _, tt := range []struct {
		change hls.Change
		want   string
	}{
		{hls.Change{Kind: hls.RenditionAdded, Rendition: "source", Listing: hls.Listing{Bitrate: 1}, History: hls.History{Discontinuities: 2, Peak: 3}},
			`{"kind":"added","rendition":"source","added":{"bitrate":1,"discontinuities":2,"peak":3}}`},
		{hls.Change{Kind: hls.PartAdded, Rendition: "source", Head: &hls.Head{Number: 1, PTS: 2, Date: date, Independent: true}, Part: hls.Part{Number: 4, End: 5, Duration: 6}, Details: hls.Details{Frame: 7, PartTarget: 8}},
			`{"kind":"part","rendition":"source","head":{"number":1,"pts":2,"date":"2026-07-01T12:00:00.123456789Z","independent":true},"part":{"number":4,"end":5,"duration":6,"frame":7,"target":8}}`},
		{hls.Change{Kind: hls.SegmentEnded, Rendition: "source", Duration: 9}, `{"kind":"ended","rendition":"source","duration":9}`},
		{hls.Change{Kind: hls.InitSet, Rendition: "source", Init: &hls.Init{Number: 1, Bytes: []byte{1}}}, `{"kind":"init","rendition":"source","init":{"number":1,"bytes":"AQ=="}}`},
		{hls.Change{Kind: hls.AdBreaksSet, AdBreaks: []hls.AdBreak{{ID: "a", PTS: 1, Date: date, Length: 2}}},
			`{"kind":"breaks","adBreaks":[{"id":"a","pts":1,"date":"2026-07-01T12:00:00.123456789Z","length":2}]}`},
		{hls.Change{Kind: hls.RenditionClosed, Rendition: "source"}, `{"kind":"closed","rendition":"source"}`},
	} {
		m := newChange(&tt.change)
		got, err := json.Marshal(m)
		if err != nil || string(got) != tt.want {
			t.Errorf("%s (%v), want %s", got, err, tt.want)
		}
		if err := m.check(); err != nil {
			t.Error(err)
		}
	}
}
