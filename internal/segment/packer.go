package segment

import (
	"errors"
	"time"

	"github.com/millrace/millrace/internal/fmp4"
	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/mpegts"
)

// A muxer packs frames into the bytes of a part: mpegts.Muxer, fmp4.Muxer.
type muxer interface {
	Append(dst []byte, f media.Frame) []byte
	AppendMetadata(dst []byte, pts time.Duration, number uint32, id3 []byte) []byte
	EndPart(dst []byte, videoEnd time.Duration) []byte
	SetAudio(*media.Track)
	SetVideo(*media.Track)
}

// A packer packs frames into parts, and parts into segments, where its
// caller says. Its timeline is the DTS of a Leader and the PTS of a Follower. Each part
// begins where the one before it ended, so that durations add up.
type packer struct {
	rendition *hls.Rendition // immutable

	mux          muxer
	video, audio *media.Track // the tracks that mux packs; nil if there is none
	init         *hls.Init    // nil until the first part of mux
	inits        int64        // number of init segments so far
	composition  time.Duration

	pending  pending
	nextPart int64
	details  hls.Details // that the next part comes with
	segment  openSegment
	lost     error // why the last part that was ended has no media; nil if it has
	closed   bool
}

// openSegment is the segment that parts are added to.
type openSegment struct {
	head   hls.Head
	start  time.Duration // where it begins
	length time.Duration // to the end of its last part
	size   int64         // bytes
	open   bool          // it has parts
}

// pending is the part that is being collected.
type pending struct {
	start         time.Duration
	end           time.Duration // predicted, of the last frame
	data          []byte        // reused
	size          int           // bytes of frames
	video, audio  int           // frames
	startsWithKey bool
	independent   bool // contains a key frame
}

// begin makes a muxer that begins a segment at t. composition is PTS - DTS of
// the first frame, by which the media's PTS differ from the timeline.
func (p *packer) begin(t, composition time.Duration, video, audio *media.Track) {
	if p.rendition.Stream().Container == hls.FMP4 {
		p.mux = &fmp4.Muxer{Video: video, Audio: audio}
	} else {
		p.mux = &mpegts.Muxer{Video: video, Audio: audio}
	}
	p.video, p.audio, p.init = video, audio, nil
	p.composition = composition
	p.pending = pending{start: t, end: t, data: p.pending.data[:0]}
	p.beginSegment(t)
}

// resume is like begin, for a change of the video's configuration alone: pending audio
// goes into the segment that begins, and its count continues.
func (p *packer) resume(t, composition time.Duration, video *media.Track) {
	p.setVideo(video)
	p.composition = composition
	p.pending.start, p.pending.end = t, t
	p.beginSegment(t)
}

// setVideo has mux continue with another configuration of the video, and a new init
// segment.
func (p *packer) setVideo(t *media.Track) {
	p.video, p.init = t, nil
	p.mux.SetVideo(t)
}

// setAudio has mux pack audio too, before its first part.
func (p *packer) setAudio(t *media.Track) {
	p.audio = t
	p.mux.SetAudio(t)
}

// beginSegment has the next part begin a segment at t.
func (p *packer) beginSegment(t time.Duration) {
	p.segment = openSegment{head: p.segment.head, start: t}
	p.segment.head.PTS = t + p.composition
}

func (p *packer) collect(f media.Frame) {
	q := &p.pending
	q.data = p.mux.Append(q.data, f)
	q.size += len(f.Data)
	if !f.Track.IsVideo() {
		q.audio++
		return
	}
	q.video++
	p.details.Captions = p.details.Captions || f.Track.HasCaptions(f.Data)
}

// endPart publishes what is pending as a part that ends at end. The next one
// begins there. A part for which there is no memory is left out, and lost says why:
// nothing that follows can be decoded before a key frame.
func (p *packer) endPart(end time.Duration) error {
	q := &p.pending
	p.lost = nil
	end = max(end, q.start+time.Millisecond)
	if q.video+q.audio > 0 {
		for _, m := range p.rendition.TakeMetadata(end + p.composition) {
			q.data = p.mux.AppendMetadata(q.data, m.PTS, uint32(m.Number), m.ID3)
		}
	}
	if q.data = p.mux.EndPart(q.data, end); len(q.data) == 0 {
		*q = pending{start: q.start, end: q.start, data: q.data} // nothing that mux could use
		return nil
	}
	if p.init == nil {
		p.init = p.newInit()
	}
	if !p.segment.open {
		p.segment.head.Init, p.segment.head.Independent = p.init, q.startsWithKey
	}
	part := hls.Part{Number: p.nextPart, End: end - p.segment.start, Duration: end - q.start, Independent: q.independent}
	if err := p.rendition.AddPart(p.segment.head, part, p.details, q.data); errors.Is(err, hls.ErrClosed) {
		return err
	} else if err != nil {
		p.lost = err
		*q = pending{start: end, end: end, data: q.data[:0]}
		return nil
	}
	p.segment.open = true
	p.nextPart++
	p.segment.length = part.End
	p.segment.size += int64(len(q.data))
	*q = pending{start: end, end: end, data: q.data[:0]}
	return nil
}

func (p *packer) newInit() *hls.Init {
	i := &hls.Init{Number: p.inits, Video: p.video, Audio: p.audio}
	if p.rendition.Stream().Container == hls.FMP4 {
		i.Bytes = fmp4.Init(nil, p.video, p.audio)
	}
	p.inits++
	return i
}

// endSegment ends the segment, which has parts and lasts d. The next one
// begins at its end, at that date.
func (p *packer) endSegment(d time.Duration, forced bool) {
	p.rendition.EndSegment(d, forced)
	p.segment.head = hls.Head{Number: p.segment.head.Number + 1}
	p.beginSegment(p.segment.start + d)
}
