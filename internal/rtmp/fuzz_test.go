package rtmp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/internal/amf0"
	"github.com/millrace/millrace/internal/wiretest"
)

// An encoder that does anything in any order: commands, media, bytes that make no
// sense, reading the answers or not, closing a half of the connection or all of it.
// Its connection ends, without a panic, and holds no more than some answers. Each
// byte of script is a step; data is what some of them send.
func FuzzConnection(f *testing.F) {
	f.Add([]byte{stepConnect, stepPublish, stepStream, stepPings, stepFrame, stepUnpublish}, []byte{})
	f.Add([]byte{stepConnect, stepPublish, stepStream, stepDeaf, stepPings, stepFrame, stepPings}, []byte{})
	f.Add([]byte{stepConnect, stepDeaf, stepBreakWrites, stepPings, stepCreate, stepHalfClose}, []byte{})
	f.Add([]byte{stepRaw, stepConnect, stepPublish, stepConnect, stepPublish}, []byte{2, 0, 0, 0, 0, 0, 4, kindAbort, 0, 0, 0, 0, 0, 0, 0, 3})
	f.Add([]byte{stepConnect, stepPublish, stepStream, stepVideo, stepAudio, stepData, stepWait, stepFrame, stepWait}, keyTag)
	f.Fuzz(func(t *testing.T, script, data []byte) {
		if len(script) > 64 || len(data) > 4096 {
			return
		}
		synctest.Test(t, func(t *testing.T) { play(t, script, data) })
	})
}

const (
	stepConnect = iota
	stepPublish
	stepCreate
	stepStream
	stepFrame
	stepPings
	stepVideo
	stepAudio
	stepData
	stepRaw
	stepWait
	stepUnpublish
	stepDeaf // reads nothing any more
	stepBreakWrites
	stepHalfClose
	steps
)

// play plays a script against a server, in virtual time.
func play(t *testing.T, script, data []byte) {
	client, far := net.Pipe()
	server := &faultyConn{Conn: far}
	var panics bytes.Buffer
	s := &Server{App: "app", Log: slog.New(slog.NewTextHandler(&panics, &slog.HandlerOptions{Level: slog.LevelError})), Handle: func(_ context.Context, p *Publisher) error {
		err := p.Accept()
		for err == nil {
			_, err = p.ReadFrame()
		}
		return err
	}}
	served, done := s.newConn(server), make(chan struct{})
	go func() {
		defer close(done)
		s.serveConn(t.Context(), served, func() {})
	}()
	deaf, listens := make(chan struct{}), make(chan struct{})
	go func() { // reads until the test closes it
		defer close(listens)
		buf := make([]byte, 4096)
		for {
			select {
			case <-deaf:
				return
			default:
			}
			if _, err := client.Read(buf); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
				return
			}
		}
	}()
	c := newConn(client, 30*time.Second)
	c.chunkWrite(append([]byte{version}, make([]byte, 2*handshakeSize)...))
	once := sync.OnceFunc(func() { close(deaf) })
	for _, b := range script {
		switch b % steps {
		case stepDeaf:
			once()
			client.SetReadDeadline(time.Now()) // it may be closed
			<-listens
		case stepBreakWrites:
			server.broken.Store(true)
		case stepHalfClose:
			server.ended.Store(true)
			far.SetReadDeadline(time.Now()) // it may be closed
		default:
			c.step(b%steps, data)
		}
	}
	client.Close()
	once()
	<-done
	<-listens
	if panics.Len() > 0 {
		t.Error(panics.String())
	}
	if kept := cap(served.out.buf); kept > 4*maxPending {
		t.Errorf("%d bytes of answers are kept", kept)
	}
}

// A faultyConn is a connection whose peer sends no more (ended), or that takes
// nothing any more (broken).
type faultyConn struct {
	net.Conn
	ended, broken atomic.Bool
}

func (c *faultyConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.ended.Load() {
		return 0, io.EOF
	}
	return n, err
}

func (c *faultyConn) Write(b []byte) (int, error) {
	if c.broken.Load() {
		return 0, syscall.EPIPE
	}
	return c.Conn.Write(b)
}

// chunkWrite writes raw bytes, for some time at most.
func (c *conn) chunkWrite(b []byte) {
	c.nc.SetWriteDeadline(time.Now().Add(20 * time.Second)) // it may be closed
	c.nc.Write(b)                                           // as above
}

// step sends one thing that an encoder can send.
func (c *conn) step(b byte, data []byte) {
	send := func(kind byte, body []byte) {
		c.out.append(chunkCommand, message{kind: kind, stream: 1, body: body}, nil)
	}
	switch b {
	case stepConnect:
		send(kindCommand, amf0.Append(nil, connectTo("app")...))
	case stepPublish:
		send(kindCommand, amf0.Append(nil, publishKey("key")...))
	case stepCreate:
		send(kindCommand, amf0.Append(nil, amf0.String("createStream"), amf0.Number(3), amf0.Null{}))
	case stepUnpublish:
		send(kindCommand, amf0.Append(nil, amf0.String("FCUnpublish"), amf0.Number(6), amf0.Null{}, amf0.String("key")))
	case stepStream:
		send(kindVideo, headerTag)
		send(kindVideo, keyTag)
		send(kindAudio, []byte{0xaf, 0, 0x11, 0x90})
	case stepFrame:
		send(kindAudio, []byte{0xaf, 1, 0x21, 0x10, 0x04})
	case stepPings:
		for range 2000 {
			send(kindUserControl, []byte{0, eventPingRequest, 0, 0, 0, 0})
		}
	case stepVideo:
		send(kindVideo, data)
	case stepAudio:
		send(kindAudio, data)
	case stepData:
		send(kindData, data)
	case stepRaw:
		c.out.buf = append(c.out.buf, data...)
	case stepWait:
		time.Sleep(9 * time.Second)
	}
	c.chunkWrite(c.out.buf)
	c.out.buf = c.out.buf[:0]
}

var (
	headerTag = wiretest.Hex("1700000000" + avc)
	keyTag    = wiretest.Hex("1701000000" + sei + idr)
)
