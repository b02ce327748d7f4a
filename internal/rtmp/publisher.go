package rtmp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"time"

	"github.com/millrace/millrace/internal/amf0"
	"github.com/millrace/millrace/internal/flv"
	"github.com/millrace/millrace/internal/ingest"
	"github.com/millrace/millrace/internal/media"
)

// A Publisher is the connection of an encoder that publishes: an ingest.Source. Its
// strings come from the network: they are at most 1,024 bytes long and otherwise
// untrusted. Apart from Cut and Reconnect it belongs to the handler's goroutine.
type Publisher struct {
	App        string     // without slashes around it and without query
	FlashVer   string     // the encoder's name for itself, if any
	StreamKey  string     // without query
	Query      url.Values // after the "?" of the application or of the stream key; malformed parts are left out
	TLS        bool
	RemoteAddr net.Addr

	reconnects  bool   // it understands a ReconnectRequest
	appKey      string // the path after the application: a stream key that was pasted there
	c           *conn
	publishes   func() // keeps its place
	end         func(error)
	readTimeout time.Duration
	dec         flv.Decoder
	metadata    flv.Metadata
	began       time.Time // when the first message came
}

// Accept tells the encoder that it may send. It must be called once, before ReadFrame,
// whose errors it shares. From then on no other connection gets its place.
func (p *Publisher) Accept() error {
	p.publishes()
	p.c.in.maxMessage = maxMessage
	p.c.send(chunkControl, message{kind: kindUserControl, body: []byte{0, eventStreamBegin, 0, 0, 0, publishStream}})
	p.c.sendStatus("status", "NetStream.Publish.Start", "Publishing")
	err := p.c.flush()
	if err == nil {
		err = p.c.watch(p.readTimeout)
	}
	if err != nil {
		return fmt.Errorf("encoder %v: %w", p.RemoteAddr, vanished(err))
	}
	return nil
}

// ReadFrame returns the next frame, good until the next call. Its times are the
// message's 32-bit timestamp, which wraps. The error is io.EOF when the
// encoder ended its stream; otherwise it wraps io.ErrUnexpectedEOF when
// the connection just ended, ErrSilent after Server.ReadTimeout without a frame,
// the cause given to Cut, or is an *ingest.Refusal of what the encoder sends.
func (p *Publisher) ReadFrame() (media.Frame, error) {
	for {
		if f, ok := p.dec.Next(); ok {
			p.c.lastFrame = time.Now()
			return f, nil
		}
		if err := p.take(); err != nil {
			return media.Frame{}, err
		}
	}
}

// take reads a message and acts on it.
func (p *Publisher) take() error {
	m, err := p.c.readMessage()
	if err != nil {
		return fmt.Errorf("encoder %v: %w", p.RemoteAddr, vanished(err))
	}
	switch dts := time.Duration(m.time) * time.Millisecond; m.kind {
	case kindVideo:
		err = p.dec.Video(m.body, dts)
	case kindAudio:
		err = p.dec.Audio(m.body, dts)
	case kindData, kindDataAMF3:
		p.data(m)
	case kindCommand, kindCommandAMF3:
		return p.command(m)
	}
	if err != nil {
		return refuseUnsupported(err)
	}
	return p.awaitVideo()
}

// awaitVideo refuses an encoder that has sent messages of any kind for
// ingest.VideoWithin and no key frame of video, and says what is missing.
func (p *Publisher) awaitVideo() error {
	if p.dec.Keyed() {
		return nil
	}
	now := time.Now()
	if p.began.IsZero() {
		p.began = now
	}
	if now.Sub(p.began) < ingest.VideoWithin {
		return nil
	}
	return ingest.Refuse(ingest.Unsupported, p.dec.Problem())
}

// data takes an onMetaData. Other data messages, and damaged ones, are passed
// over: frames do not depend on them.
func (p *Publisher) data(m message) {
	body := m.body
	if m.kind == kindDataAMF3 {
		body = bytes.TrimPrefix(body, []byte{0})
	}
	if md, err := flv.ParseMetadata(body); err == nil {
		p.metadata = md
	}
}

// command returns io.EOF for the commands that end a stream.
func (p *Publisher) command(m message) error {
	cmd, err := parseCommand(m)
	if err != nil {
		return err
	}
	switch cmd.name {
	case "FCUnpublish":
		p.c.sendCommand(0, amf0.String("onFCUnpublish"), amf0.Number(0), amf0.Null{},
			status("status", "NetStream.Unpublish.Success", "Unpublished"))
		return io.EOF
	case "deleteStream", "closeStream":
		return io.EOF
	case "publish", "play":
		return &refusal{CodeRejected, "this connection is publishing already"}
	}
	p.c.reply(cmd)
	return nil
}

// vanished marks the errors of a connection that was lost.
func vanished(err error) error {
	var broken *net.OpError
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe) || errors.As(err, &broken) {
		return fmt.Errorf("%w: %w", io.ErrUnexpectedEOF, err)
	}
	return err
}

// refuseUnsupported makes a Refusal of an error about a codec. It returns others
// as they are.
func refuseUnsupported(err error) error {
	var unsupported *flv.UnsupportedError
	if !errors.As(err, &unsupported) {
		return err
	}
	reason := ingest.Unsupported
	if unsupported.Multitrack() {
		reason = ingest.Multitrack
	}
	return &ingest.Refusal{Reason: reason, Text: unsupported.Error(), Err: err}
}

// Info describes the connection.
func (p *Publisher) Info() ingest.Info {
	info := ingest.Info{Protocol: "RTMP", StreamKey: p.StreamKey, Query: p.Query, Secure: p.TLS, RemoteAddr: p.RemoteAddr, Reconnects: p.reconnects}
	if p.TLS {
		info.Protocol = "RTMPS"
	}
	return info
}

// AudioTrack returns the audio track that the encoder has announced with a sequence
// header, nil if it has not. Its frames may come later, or never.
func (p *Publisher) AudioTrack() *media.Track { return p.dec.AudioTrack() }

// Metadata returns the newest onMetaData that ReadFrame has read.
func (p *Publisher) Metadata() ingest.Metadata {
	m := p.metadata
	return ingest.Metadata{Encoder: m.Encoder, VideoBitrate: m.VideoDataRate, AudioBitrate: m.AudioDataRate, FrameRate: m.FrameRate}
}

// Stats returns counts of what could not be carried as it came.
func (p *Publisher) Stats() media.InputStats { return p.dec.Stats() }

// End tells the encoder why its stream ends and disconnects it, as the
// server does with the error that the handler returns. It is for a handler that
// has more to do before it returns, and takes 2 s where the encoder does not
// hang up. Nothing may be read afterwards.
func (p *Publisher) End(err error) { p.end(err) }

// Cut makes ReadFrame fail with an error that wraps cause. It may be called from
// any goroutine and more than once: the first cause stays. A cause that is an
// *ingest.Refusal reaches the encoder's operator when the handler returns it.
func (p *Publisher) Cut(cause error) { p.c.cut(cause) }

// Reconnect asks the encoder to connect again (Enhanced RTMP v2, "Reconnect Request").
// Info says whether the encoder supports that.
func (p *Publisher) Reconnect() {
	p.c.sendCommand(0, amf0.String("onStatus"), amf0.Number(0), amf0.Null{},
		status("status", codeReconnect, "The server is about to stop: connect again."))
	_ = p.c.flush() // its error shows at the next read
}
