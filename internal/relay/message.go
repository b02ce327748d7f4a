package relay

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"time"

	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/media"
)

// What the owner sends is a run of messages: the length of its JSON and that of the
// media behind it, four bytes each, big-endian; the JSON; the media. The first JSON
// is a greeting, the others are changes. Only parts have media. A change of a kind that
// the receiver does not know is skipped.
const (
	maxText  = 1 << 20  // bytes of JSON: an init segment has some KB
	maxMedia = 32 << 20 // bytes of a part: a segment has at most 16 MiB

	maxRenditions = 32
	maxAdBreaks   = 1000
	maxDuration   = time.Hour // of anything in a message
)

// errProtocol is wrapped by the errors of messages that are not as above.
var errProtocol = errors.New("what the other node sends is not understood")

// A greeting holds the attributes of a stream that do not change.
type greeting struct {
	Container      hls.Container `json:"container"`
	LowLatency     bool          `json:"lowLatency"`
	TargetDuration time.Duration `json:"targetDuration"`
	Window         time.Duration `json:"window"`
	MaxBytes       int64         `json:"maxBytes"`
}

// stream is an empty copy of the owner's.
func (g *greeting) stream() (*hls.Stream, error) {
	if g.TargetDuration <= 0 || g.TargetDuration > time.Minute || g.Window < 0 || g.Window > maxDuration || g.MaxBytes < 0 || g.Container > hls.FMP4 {
		return nil, fmt.Errorf("%w: a stream of %+v", errProtocol, *g)
	}
	return &hls.Stream{Container: g.Container, LowLatency: g.LowLatency, TargetDuration: g.TargetDuration, Window: g.Window, MaxBytes: g.MaxBytes}, nil
}

// A change is an hls.Change.
type change struct {
	Kind      string `json:"kind"`
	Rendition string `json:"rendition,omitempty"`

	Added    *addedJSON    `json:"added,omitempty"`
	Fallback bool          `json:"spare,omitempty"` // the name that nodes of all versions know
	Init     *initJSON     `json:"init,omitempty"`
	Head     *headJSON     `json:"head,omitempty"`
	Part     *partJSON     `json:"part,omitempty"`
	Duration time.Duration `json:"duration,omitempty"`
	AdBreaks []adBreakJSON `json:"adBreaks,omitempty"`
}

type addedJSON struct {
	Label           string        `json:"label,omitempty"`
	Bitrate         int           `json:"bitrate,omitempty"`
	AudioOnly       bool          `json:"audioOnly,omitempty"`
	Discontinuities int64         `json:"discontinuities,omitempty"`
	Bytes           int64         `json:"bytes,omitempty"`
	Media           time.Duration `json:"media,omitempty"`
	Peak            int64         `json:"peak,omitempty"`
	Longest         time.Duration `json:"longest,omitempty"`
}

type initJSON struct {
	Number int64      `json:"number"`
	Bytes  []byte     `json:"bytes,omitempty"`
	Video  *trackJSON `json:"video,omitempty"`
	Audio  *trackJSON `json:"audio,omitempty"`
}

type trackJSON struct {
	ID     uint8       `json:"id,omitempty"`
	Codec  media.Codec `json:"codec"`
	Config []byte      `json:"config"`
}

type headJSON struct {
	Number        int64         `json:"number"`
	PTS           time.Duration `json:"pts"`
	Date          time.Time     `json:"date"`
	Discontinuity bool          `json:"discontinuity,omitempty"`
	Independent   bool          `json:"independent,omitempty"`
}

type partJSON struct {
	Number      int64         `json:"number"`
	End         time.Duration `json:"end"`
	Duration    time.Duration `json:"duration"`
	Independent bool          `json:"independent,omitempty"`
	Frame       time.Duration `json:"frame,omitempty"`
	Target      time.Duration `json:"target,omitempty"`
	KeyInterval time.Duration `json:"keyInterval,omitempty"`
	Captions    bool          `json:"captions,omitempty"`
}

type adBreakJSON struct {
	ID     string        `json:"id"`
	PTS    time.Duration `json:"pts"`
	Date   time.Time     `json:"date"`
	Length time.Duration `json:"length"`
}

var kindNames = [...]string{
	hls.RenditionAdded: "added", hls.RenditionRemoved: "removed", hls.RenditionClosed: "closed", hls.FallbackSet: "spare",
	hls.InitSet: "init", hls.PartAdded: "part", hls.SegmentEnded: "ended", hls.GapAdded: "gap", hls.AdBreaksSet: "breaks",
}

// kindSynced is that of a message behind what there was of the stream when it was
// asked for.
const kindSynced = "synced"

func newChange(c *hls.Change) change {
	m := change{Kind: kindNames[c.Kind], Rendition: c.Rendition, Fallback: c.Fallback, Duration: c.Duration}
	switch c.Kind {
	case hls.RenditionAdded:
		l, h := c.Listing, c.History
		m.Added = &addedJSON{l.Label, l.Bitrate, l.AudioOnly, h.Discontinuities, h.Bytes, h.Media, h.Peak, h.Longest}
	case hls.InitSet:
		m.Init = &initJSON{c.Init.Number, c.Init.Bytes, newTrack(c.Init.Video), newTrack(c.Init.Audio)}
	case hls.PartAdded:
		p, d := c.Part, c.Details
		m.Part = &partJSON{p.Number, p.End, p.Duration, p.Independent, d.Frame, d.PartTarget, d.KeyInterval, d.Captions}
	case hls.AdBreaksSet:
		for _, b := range c.AdBreaks {
			m.AdBreaks = append(m.AdBreaks, adBreakJSON(b))
		}
	}
	if h := c.Head; h != nil {
		m.Head = &headJSON{h.Number, h.PTS, h.Date, h.Discontinuity, h.Independent}
	}
	return m
}

func newTrack(t *media.Track) *trackJSON {
	if t == nil {
		return nil
	}
	return &trackJSON{t.ID, t.Codec, t.Config}
}

var nameForm = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

// check reports what in m cannot have come from a stream.
func (m *change) check() error {
	kind := slices.Index(kindNames[1:], m.Kind) + 1
	ok := kind > 0 && (nameForm.MatchString(m.Rendition) || kind == int(hls.AdBreaksSet)) && sane(m.Duration) && len(m.AdBreaks) <= maxAdBreaks
	for _, b := range m.AdBreaks {
		ok = ok && nameForm.MatchString(b.ID) && sane(b.Length)
	}
	if a := m.Added; a != nil {
		ok = ok && (a.Label == "" || nameForm.MatchString(a.Label)) && a.Bytes >= 0 && a.Media >= 0 && sane(a.Longest)
	}
	if h := m.Head; h != nil {
		ok = ok && h.Number >= 0 && h.Number < 1<<53
	}
	if p := m.Part; p != nil {
		ok = ok && p.Number >= 0 && p.Number < 1<<53 && sane(p.End) && sane(p.Duration) && sane(p.Frame) && sane(p.Target) && sane(p.KeyInterval)
	}
	switch hls.ChangeKind(kind) {
	case hls.RenditionAdded:
		ok = ok && m.Added != nil
	case hls.InitSet:
		ok = ok && m.Init != nil
	case hls.GapAdded:
		ok = ok && m.Head != nil
	case hls.PartAdded:
		ok = ok && m.Part != nil
	}
	if !ok {
		return fmt.Errorf("%w: %q of rendition %q", errProtocol, m.Kind, m.Rendition)
	}
	return nil
}

func sane(d time.Duration) bool { return d >= 0 && d <= maxDuration }

func (i *initJSON) init() (*hls.Init, error) {
	video, err := i.Video.track()
	if err != nil {
		return nil, err
	}
	audio, err := i.Audio.track()
	if err != nil {
		return nil, err
	}
	if video != nil && !video.IsVideo() || audio != nil && audio.IsVideo() {
		return nil, fmt.Errorf("%w: a track of the wrong kind", errProtocol)
	}
	return &hls.Init{Number: i.Number, Bytes: i.Bytes, Video: video, Audio: audio}, nil
}

func (t *trackJSON) track() (*media.Track, error) {
	if t == nil {
		return nil, nil
	}
	track, err := media.NewTrack(t.Codec, t.Config)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errProtocol, err)
	}
	track.ID = t.ID
	return track, nil
}

// A writer writes messages.
type writer struct {
	w   io.Writer
	buf []byte // is used again
}

// write writes a message with the media that body has, which may be nil.
func (w *writer) write(v any, body *io.SectionReader) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	size := 0
	if body != nil {
		size = int(body.Size())
	}
	w.buf = binary.BigEndian.AppendUint32(w.buf[:0], uint32(len(text)))
	w.buf = binary.BigEndian.AppendUint32(w.buf, uint32(size))
	w.buf = append(w.buf, text...)
	if size > 0 {
		head := len(w.buf)
		w.buf = slices.Grow(w.buf, size)[:head+size]
		if _, err := io.ReadFull(body, w.buf[head:]); err != nil {
			return fmt.Errorf("read a part of %d bytes: %w", size, err)
		}
	}
	_, err = w.w.Write(w.buf)
	return err
}

// A reader reads messages.
type reader struct {
	r   io.Reader
	buf bytes.Buffer // is used again
}

// read reads the JSON of a message into v and returns its media, which is good until
// the next read. Memory grows with what has come, not with what was announced.
func (r *reader) read(v any) ([]byte, error) {
	var head [8]byte
	if _, err := io.ReadFull(r.r, head[:]); err != nil {
		return nil, err // io.EOF between messages
	}
	text, size := int64(binary.BigEndian.Uint32(head[:4])), int64(binary.BigEndian.Uint32(head[4:]))
	if text > maxText || size > maxMedia {
		return nil, fmt.Errorf("%w: a message of %d and %d bytes", errProtocol, text, size)
	}
	r.buf.Reset()
	if n, err := io.CopyN(&r.buf, r.r, text+size); err != nil {
		return nil, fmt.Errorf("%d of %d bytes of a message: %w", n, text+size, io.ErrUnexpectedEOF)
	}
	b := r.buf.Bytes()
	if err := json.Unmarshal(b[:text], v); err != nil {
		return nil, fmt.Errorf("%w: %w", errProtocol, err)
	}
	return b[text:], nil
}
