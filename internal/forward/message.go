// Package forward carries an encoder's stream from the node that it connected to, to the
// node that has its channel's session: one request whose body is what an ingest.Source
// yields, and whose response says how it ended. On the other node it is an ingest.Source
// again.
package forward

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/millrace/millrace/internal/ingest"
	"github.com/millrace/millrace/internal/media"
)

// The body of a request is a run of messages: the length of what follows in four
// bytes, big-endian; a byte for the kind; and
//
//	hello     JSON of a greeting; the first message and no other
//	track     a number for it (1 byte), its media.Track.ID (1), its codec (1), its Config
//	frame     the number of its track (1), flags (1), DTS and PTS (8 each, nanoseconds), its Data
//	audio     the number of the track that is Source.AudioTrack; 0 for none
//	metadata  JSON of an ingest.Metadata
//	stats     JSON of a media.InputStats
//	end       why the encoder left: nothing if it ended its stream, else JSON of an ending
const (
	kindHello = iota + 1
	kindTrack
	kindFrame
	kindAudio
	kindMetadata
	kindStats
	kindEnd
)

const (
	maxMessage = 9 << 20 // bytes: an access unit has at most 8 MiB
	maxSmall   = 64 << 10
	maxTracks  = 255

	frameHeader = 18
	flagKey     = 1
)

// errProtocol is wrapped by the errors of a body that is not as above.
var errProtocol = errors.New("what the other node sends is not understood")

// A greeting is an ingest.Info.
type greeting struct {
	Protocol   string              `json:"protocol"`
	StreamKey  string              `json:"streamKey"`
	Query      map[string][]string `json:"query,omitempty"`
	Secure     bool                `json:"secure"`
	RemoteAddr string              `json:"remoteAddr"`
	Reconnects bool                `json:"reconnects,omitempty"`
}

// An answer is a message from the other node after it has accepted the encoder: the
// request to reconnect, or, as the last one, the ending.
type answer struct {
	Reconnect bool `json:"reconnect,omitempty"` // and no ending
	ending
}

// An ending is why an encoder left, or was disconnected; the zero ending is that of a
// stream that was ended cleanly.
type ending struct {
	Reason ingest.Reason `json:"reason,omitempty"` // of a Refusal; 0 where there was none
	Text   string        `json:"text"`
}

func newEnding(err error) ending {
	if err == nil || errors.Is(err, io.EOF) {
		return ending{}
	}
	if r, ok := errors.AsType[*ingest.Refusal](err); ok {
		return ending{r.Reason, r.Text}
	}
	return ending{Text: err.Error()}
}

// err is the error that the ending was made of, as far as it is for the encoder.
func (e ending) err() error {
	switch {
	case e.Reason != 0:
		return ingest.Refuse(e.Reason, e.Text)
	case e.Text != "":
		return errors.New(e.Text)
	}
	return nil
}

// A writer writes messages. An error stays.
type writer struct {
	w        *bufio.Writer
	tracks   map[*media.Track]byte
	audio    *media.Track
	metadata ingest.Metadata
	stats    media.InputStats
	head     [5 + frameHeader]byte
	err      error
}

func newWriter(w io.Writer) *writer {
	return &writer{w: bufio.NewWriterSize(w, 64<<10), tracks: map[*media.Track]byte{}}
}

func (w *writer) message(kind byte, parts ...[]byte) {
	size := 1
	for _, p := range parts {
		size += len(p)
	}
	if w.err == nil && size > maxMessage {
		w.err = fmt.Errorf("a message of %d bytes to another node", size)
	}
	if w.err != nil {
		return
	}
	head := binary.BigEndian.AppendUint32(w.head[:0], uint32(size))
	w.write(append(head, kind))
	for _, p := range parts {
		w.write(p)
	}
}

func (w *writer) write(b []byte) {
	if w.err == nil {
		_, w.err = w.w.Write(b)
	}
}

func (w *writer) json(kind byte, v any) {
	body, err := json.Marshal(v)
	if err != nil && w.err == nil {
		w.err = err
	}
	w.message(kind, body)
}

// number numbers a track, and describes it the first time.
func (w *writer) number(t *media.Track) byte {
	if t == nil {
		return 0
	}
	n, known := w.tracks[t]
	if !known {
		if len(w.tracks) == maxTracks {
			clear(w.tracks) // the reader's are replaced, too
		}
		n = byte(len(w.tracks) + 1)
		w.tracks[t] = n
		w.message(kindTrack, []byte{n, t.ID, byte(t.Codec)}, t.Config)
	}
	return n
}

// frame writes a frame, and ahead of it what has changed of src.
func (w *writer) frame(f media.Frame, src ingest.Source) error {
	if t := src.AudioTrack(); t != w.audio {
		w.audio = t
		w.message(kindAudio, []byte{w.number(t)})
	}
	if m := src.Metadata(); m != w.metadata {
		w.metadata = m
		w.json(kindMetadata, m)
	}
	w.count(src)
	n := w.number(f.Track)
	if w.err != nil || 1+frameHeader+len(f.Data) > maxMessage {
		return w.fail(fmt.Errorf("a frame of %d bytes to another node", len(f.Data)))
	}
	head := binary.BigEndian.AppendUint32(w.head[:0], uint32(1+frameHeader+len(f.Data)))
	head = append(head, kindFrame, n, 0)
	if f.Key {
		head[len(head)-1] = flagKey
	}
	head = binary.BigEndian.AppendUint64(head, uint64(f.DTS))
	w.write(binary.BigEndian.AppendUint64(head, uint64(f.PTS)))
	w.write(f.Data)
	return w.flush()
}

// count writes the counts of src if they have changed.
func (w *writer) count(src ingest.Source) {
	if s := src.Stats(); s != w.stats {
		w.stats = s
		w.json(kindStats, s)
	}
}

// fail returns the first error, which err is if there was none.
func (w *writer) fail(err error) error {
	if w.err == nil {
		w.err = err
	}
	return w.err
}

func (w *writer) flush() error {
	if w.err == nil {
		w.err = w.w.Flush()
	}
	return w.err
}

// A reader reads messages.
type reader struct {
	r        *bufio.Reader
	tracks   [maxTracks + 1]*media.Track
	audio    *media.Track
	metadata ingest.Metadata
	stats    media.InputStats
	buf      []byte
}

func newReader(r io.Reader) *reader { return &reader{r: bufio.NewReaderSize(r, 64<<10)} }

// next reads a message, good until the next call.
func (r *reader) next() (kind byte, body []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(r.r, head[:]); err != nil {
		return 0, nil, err
	}
	size, kind := binary.BigEndian.Uint32(head[:]), head[4]
	limit := uint32(maxSmall)
	if kind == kindFrame {
		limit = maxMessage
	}
	if size < 1 || size > limit {
		return 0, nil, fmt.Errorf("%w: message of type %d with %d bytes", errProtocol, kind, size)
	}
	if body, err = r.take(int(size) - 1); err != nil {
		return 0, nil, err
	}
	return kind, body, nil
}

// take reads n bytes. Memory grows with the bytes that have come.
func (r *reader) take(n int) ([]byte, error) {
	const step = 256 << 10
	r.buf = r.buf[:0]
	for len(r.buf) < n {
		have, more := len(r.buf), min(n-len(r.buf), step)
		if cap(r.buf) < have+more {
			r.buf = append(make([]byte, 0, min(2*(have+more), max(n, 64<<10))), r.buf...)
		}
		r.buf = r.buf[:have+more]
		if _, err := io.ReadFull(r.r, r.buf[have:]); err != nil {
			return nil, media.Truncated(err)
		}
	}
	return r.buf, nil
}

// hello reads the first message.
func (r *reader) hello() (g greeting, err error) {
	kind, body, err := r.next()
	if err != nil {
		return g, media.Truncated(err)
	}
	if kind != kindHello {
		return g, fmt.Errorf("%w: it begins with a message of type %d", errProtocol, kind)
	}
	return g, decodeJSON(body, &g)
}

func decodeJSON(body []byte, v any) error {
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("%w: %w", errProtocol, err)
	}
	return nil
}

// frame reads messages up to a frame, good until the next call. The error is io.EOF
// when the encoder has ended its stream.
func (r *reader) frame() (media.Frame, error) {
	for {
		kind, body, err := r.next()
		if err != nil {
			return media.Frame{}, media.Truncated(err)
		}
		switch kind {
		case kindFrame:
			return r.parseFrame(body)
		case kindTrack:
			err = r.track(body)
		case kindAudio:
			if len(body) != 1 {
				return media.Frame{}, errProtocol
			}
			r.audio = r.tracks[body[0]]
		case kindMetadata:
			r.metadata = ingest.Metadata{}
			err = decodeJSON(body, &r.metadata)
		case kindStats:
			r.stats = media.InputStats{}
			err = decodeJSON(body, &r.stats)
		case kindEnd:
			if len(body) == 0 {
				return media.Frame{}, io.EOF
			}
			return media.Frame{}, parseEnd(body)
		default: // of a newer version
		}
		if err != nil {
			return media.Frame{}, err
		}
	}
}

// parseEnd is the error for why the encoder has left.
func parseEnd(body []byte) error {
	var e ending
	if err := decodeJSON(body, &e); err != nil {
		return err
	}
	if e.Reason != 0 {
		return e.err()
	}
	return fmt.Errorf("%w: %s", io.ErrUnexpectedEOF, e.Text)
}

// track takes in the description of a track.
func (r *reader) track(body []byte) error {
	if len(body) < 3 || body[0] == 0 {
		return fmt.Errorf("%w: a track of %d bytes", errProtocol, len(body))
	}
	t, err := media.NewTrack(media.Codec(body[2]), body[3:])
	if err != nil {
		return fmt.Errorf("%w: %w", errProtocol, err)
	}
	t.ID = body[1]
	r.tracks[body[0]] = t
	return nil
}

func (r *reader) parseFrame(body []byte) (f media.Frame, err error) {
	if len(body) < frameHeader || r.tracks[body[0]] == nil {
		return f, fmt.Errorf("%w: a frame of %d bytes, or of an unknown track", errProtocol, len(body))
	}
	f = media.Frame{
		Track: r.tracks[body[0]], Key: body[1]&flagKey != 0,
		DTS: time.Duration(binary.BigEndian.Uint64(body[2:])), PTS: time.Duration(binary.BigEndian.Uint64(body[10:])),
		Data: body[frameHeader:],
	}
	if !f.Track.WellFormed(f.Data) {
		return f, fmt.Errorf("%w: a frame whose bytes are not those of its codec", errProtocol)
	}
	return f, nil
}
