package rtmp

import (
	"errors"
	"io"
	"net"
	"net/url"

	"github.com/millrace/millrace/internal/flv"
	"github.com/millrace/millrace/internal/media"
)

// ErrSilent is wrapped by ReadFrame's error when the broadcaster sent no byte
// for Server.ReadTimeout.
var ErrSilent = errors.New("broadcaster is silent")

// A Publisher is one broadcaster. It is a media.Reader. Its strings come from
// the network: App, StreamKey and the rest are bounded in length and otherwise
// hostile.
type Publisher struct {
	App        string     // without slashes around it and without query
	TcURL      string     // "" when the encoder sent none
	FlashVer   string     // the encoder's name for itself, if any
	StreamKey  string     // without query
	Query      url.Values // behind the stream key's "?"; what is malformed is left out
	TLS        bool
	RemoteAddr net.Addr
}

// Accept tells the broadcaster that it is on air. Call it once.
func (p *Publisher) Accept() error { return nil }

// ReadFrame returns the next frame, good until the next call. The error is
// io.EOF when the broadcaster left in good order; it wraps
// io.ErrUnexpectedEOF when it just vanished, ErrSilent after
// Server.ReadTimeout without a byte, the cause given to Cut, or a
// *flv.UnsupportedError.
func (p *Publisher) ReadFrame() (media.Frame, error) { return media.Frame{}, io.EOF }

// Metadata returns the newest onMetaData. Like ReadFrame it is for the
// handler's goroutine.
func (p *Publisher) Metadata() (flv.Metadata, bool) { return flv.Metadata{}, false }

// Cut makes ReadFrame fail with an error that wraps cause. It may be called from
// any goroutine, and more than once: the first cause stays.
func (p *Publisher) Cut(cause error) {}

// Stats are a broadcaster's counts.
type Stats struct {
	BytesReceived int64 // all of the connection's, without TLS
	Early         int64 // frames before their sequence header, dropped
	Malformed     int64 // frames whose NAL lengths do not add up, dropped
}

// Stats may be called from any goroutine.
func (p *Publisher) Stats() Stats { return Stats{} }
