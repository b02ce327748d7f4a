package rtmp

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/millrace/millrace/internal/amf0"
	"github.com/millrace/millrace/internal/flv"
	"github.com/millrace/millrace/internal/media"
)

// A pipeListener hands out in-memory connections, whose time is a bubble's.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	select {
	case <-l.closed:
	default:
		close(l.closed)
	}
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

func (l *pipeListener) dial() net.Conn {
	client, server := net.Pipe()
	l.conns <- server
	return client
}

// bubble runs test with a running server, in virtual time. The server takes every
// broadcast to its end and reports it on ends.
func bubble(t *testing.T, s *Server, test func(t *testing.T, dial func() net.Conn, ends <-chan ending)) {
	synctest.Test(t, func(t *testing.T) {
		ends := make(chan ending, 1)
		s.Log, s.Handle = slog.New(slog.DiscardHandler), untilEnd(ends)
		l := &pipeListener{make(chan net.Conn), make(chan struct{})}
		ctx, stop := context.WithCancelCause(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Serve(ctx, l) }()
		test(t, l.dial, ends)
		stop(errors.New("test is over"))
		if err := <-done; err == nil || err.Error() != "test is over" {
			t.Errorf("Serve = %v, want the cause of its context", err)
		}
	})
}

// shake does the client's handshake. Its conn answers nothing by itself.
func shake(t testing.TB, nc net.Conn) *conn {
	t.Helper()
	c := newConn(nc, time.Minute)
	c.in.maxMessage = maxMessage
	if err := clientHandshake(c.in.r, nc); err != nil {
		t.Fatal(err)
	}
	return c
}

// call sends a command and returns the commands up to the answer that is named.
func (c *conn) call(t testing.TB, stream uint32, until string, values ...amf0.Value) []command {
	t.Helper()
	c.sendCommand(stream, values...)
	return c.await(t, until)
}

func (c *conn) await(t testing.TB, until string) (all []command) {
	t.Helper()
	for {
		m, err := c.readMessage()
		if err != nil {
			t.Fatalf("waiting for %s after %v: %v", until, all, err)
		}
		if m.kind != kindCommand {
			continue
		}
		cmd, err := parseCommand(m)
		if err != nil {
			t.Fatal(err)
		}
		if all = append(all, cmd); cmd.name == until {
			return all
		}
	}
}

func connectTo(app string, more ...amf0.Property) []amf0.Value {
	return []amf0.Value{amf0.String("connect"), amf0.Number(1), append(amf0.Object{{Key: "app", Value: amf0.String(app)}}, more...)}
}

func publishKey(key string) []amf0.Value {
	return []amf0.Value{amf0.String("publish"), amf0.Number(5), amf0.Null{}, amf0.String(key), amf0.String("live")}
}

// onAir connects and publishes.
func onAir(t testing.TB, nc net.Conn) *conn {
	t.Helper()
	c := shake(t, nc)
	c.call(t, 0, "_result", connectTo("app")...)
	c.call(t, 1, "onStatus", publishKey("key")...)
	return c
}

// An ending is what a handler saw.
type ending struct {
	frames []media.Frame
	p      *Publisher
	err    error
}

// untilEnd returns a handler that reads to the end and reports it.
func untilEnd(ends chan<- ending) func(context.Context, *Publisher) error {
	return func(_ context.Context, p *Publisher) error {
		e := ending{p: p, err: p.Accept()}
		for e.err == nil {
			var f media.Frame
			if f, e.err = p.ReadFrame(); e.err == nil {
				e.frames = append(e.frames, f)
			}
		}
		ends <- e
		return e.err
	}
}

func TestNamesAndQueries(t *testing.T) {
	for _, tt := range []struct {
		app, name, wantKey string
		wantQuery          url.Values
	}{
		{"app", "key", "key", url.Values{}},
		{"app/", "key", "key", url.Values{}},
		{"/app", "/key", "key", url.Values{}},
		{"app?a=1", "key?b=2", "key", url.Values{"a": {"1"}, "b": {"2"}}},
		{"app", "key?priority=3&keyframeInterval=2", "key", url.Values{"priority": {"3"}, "keyframeInterval": {"2"}}},
		{"app", "key?%zz=1&ok=1&;", "key", url.Values{"ok": {"1"}}},
		{"app", "key?", "key", url.Values{}},
		{"app", strings.Repeat("k", 1024), strings.Repeat("k", 1024), url.Values{}},
	} {
		bubble(t, &Server{App: "app"}, func(t *testing.T, dial func() net.Conn, ends <-chan ending) {
			c := shake(t, dial())
			defer c.nc.Close()
			c.call(t, 0, "_result", connectTo(tt.app, amf0.Property{Key: "flashVer", Value: amf0.String("FMLE/3.0")})...)
			c.call(t, 1, "onStatus", publishKey(tt.name)...)
			c.nc.Close()
			p := (<-ends).p
			if p.App != "app" || p.StreamKey != tt.wantKey || p.FlashVer != "FMLE/3.0" || p.TLS {
				t.Errorf("%q, %q: %+v", tt.app, tt.name, p)
			}
			if diff := cmp.Diff(tt.wantQuery, p.Query); diff != "" {
				t.Errorf("%q, %q:\n%s", tt.app, tt.name, diff)
			}
		})
	}
}

func TestAnswers(t *testing.T) {
	null, undefined := amf0.Null{}, amf0.Undefined{}
	result := func(id amf0.Number, v amf0.Value) []command {
		return []command{{"_result", id, []amf0.Value{null, v}}}
	}
	call := func(name string, id amf0.Number, more ...amf0.Value) []amf0.Value {
		return append([]amf0.Value{amf0.String(name), id, null}, more...)
	}
	bubble(t, &Server{}, func(t *testing.T, dial func() net.Conn, ends <-chan ending) {
		c := shake(t, dial())
		defer c.nc.Close()
		c.call(t, 0, "_result", connectTo("app")...)
		for _, tt := range []struct {
			send []amf0.Value
			want []command
		}{
			{call("releaseStream", 2, amf0.String("key")), result(2, undefined)},
			{call("FCPublish", 3, amf0.String("key")), append([]command{{"onFCPublish", 0, []amf0.Value{
				null, status("status", "NetStream.Publish.Start", "Stream key heard"),
			}}}, result(3, undefined)...)},
			{call("createStream", 4), result(4, amf0.Number(1))},
			{call("_checkbw", 5), result(5, undefined)},
			{call("somethingNew", 6), result(6, undefined)},
		} {
			if diff := cmp.Diff(tt.want, c.call(t, 0, "_result", tt.send...), cmp.AllowUnexported(command{})); diff != "" {
				t.Errorf("%v:\n%s", tt.send[0], diff)
			}
		}
		// These get no answer, so the next one is createStream's.
		for _, silent := range [][]amf0.Value{call("somethingNew", 0), call("_result", 7), call("onStatus", 8), {amf0.String("onBWDone")}} {
			c.sendCommand(0, silent...)
		}
		got := c.call(t, 0, "_result", call("createStream", 9)...)
		if diff := cmp.Diff(result(9, amf0.Number(1)), got, cmp.AllowUnexported(command{})); diff != "" {
			t.Errorf("after calls that want no answer:\n%s", diff)
		}
	})
}

func TestConnectSaysWhatEnhancedEncodersMaySend(t *testing.T) {
	list := amf0.Property{Key: "fourCcList", Value: amf0.StrictArray{amf0.String("hvc1"), amf0.String("avc1")}}
	for _, tt := range []struct {
		send []amf0.Value
		want amf0.Value
	}{
		{connectTo("app"), nil},
		{connectTo("app", list), amf0.StrictArray{amf0.String("avc1"), amf0.String("mp4a")}},
	} {
		bubble(t, &Server{}, func(t *testing.T, dial func() net.Conn, ends <-chan ending) {
			c := shake(t, dial())
			defer c.nc.Close()
			answer := c.call(t, 0, "_result", tt.send...)[0]
			if diff := cmp.Diff(tt.want, amf0.Get(answer.arg(0), "fourCcList")); diff != "" {
				t.Errorf("properties: %s", diff)
			}
			info := answer.arg(1)
			if amf0.Get(info, "code") != amf0.String("NetConnection.Connect.Success") || amf0.Get(info, "objectEncoding") != amf0.Number(0) {
				t.Errorf("information: %v", info)
			}
		})
	}
}

func TestAMF3Wrapper(t *testing.T) {
	bubble(t, &Server{}, func(t *testing.T, dial func() net.Conn, ends <-chan ending) {
		c := shake(t, dial())
		c.call(t, 0, "_result", connectTo("app")...)
		c.send(chunkCommand, message{kind: kindCommandAMF3, stream: 1, body: amf0.Append([]byte{0}, publishKey("key")...)})
		c.await(t, "onStatus")
		c.send(chunkData, message{kind: kindDataAMF3, stream: 1, body: flv.AppendMetadata([]byte{0}, flv.Metadata{Width: 640})})
		c.send(chunkCommand, message{kind: kindCommandAMF3, body: amf0.Append([]byte{0}, amf0.String("deleteStream"), amf0.Number(6))})
		c.await(t, "onStatus")
		c.nc.Close()
		e := <-ends
		if m, ok := e.p.Metadata(); !ok || m.Width != 640 || !errors.Is(e.err, io.EOF) {
			t.Errorf("metadata %v, %v; end %v", m, ok, e.err)
		}
	})
}

func TestEndings(t *testing.T) {
	say := func(values ...amf0.Value) func(*testing.T, *conn) {
		return func(t *testing.T, c *conn) {
			got := c.call(t, 0, "onStatus", values...)
			last := got[len(got)-1].arg(1)
			if amf0.Get(last, "code") != amf0.String("NetStream.Unpublish.Success") {
				t.Errorf("%v: answered by %v", values[0], last)
			}
			if values[0] == amf0.String("FCUnpublish") && got[0].name != "onFCUnpublish" {
				t.Errorf("FCUnpublish: answered by %v", got)
			}
		}
	}
	for name, tt := range map[string]struct {
		end  func(*testing.T, *conn)
		want error
	}{
		"FCUnpublish":  {say(amf0.String("FCUnpublish"), amf0.Number(6), amf0.Null{}, amf0.String("key")), io.EOF},
		"deleteStream": {say(amf0.String("deleteStream"), amf0.Number(7), amf0.Null{}, amf0.Number(1)), io.EOF},
		"closeStream":  {say(amf0.String("closeStream"), amf0.Number(0), amf0.Null{}), io.EOF},
		"vanished":     {func(_ *testing.T, c *conn) { c.nc.Close() }, io.ErrUnexpectedEOF},
		"vanished in a message": {func(_ *testing.T, c *conn) {
			c.nc.Write([]byte{4, 0, 0, 0, 0, 0, 100, 8, 1, 0, 0, 0, 0xaf}) //nolint:errcheck // the reader may be gone
			c.nc.Close()
		}, io.ErrUnexpectedEOF},
		"garbage": {func(_ *testing.T, c *conn) { c.nc.Write([]byte{0xff, 0xff}) }, errProtocol}, //nolint:errcheck // as above
		"silent":  {func(*testing.T, *conn) { time.Sleep(31 * time.Second) }, ErrSilent},
		"HEVC": {func(t *testing.T, c *conn) {
			c.send(chunkVideo, message{kind: kindVideo, stream: 1, body: []byte("\x90hvc1")})
			got := c.await(t, "onStatus")
			if text, _ := amf0.Get(got[0].arg(1), "description").(amf0.String); !strings.Contains(string(text), "HEVC") {
				t.Errorf("the encoder is told %v", got)
			}
		}, &flv.UnsupportedError{Codec: "HEVC video"}},
		"configuration that cannot be": {func(t *testing.T, c *conn) {
			c.send(chunkAudio, message{kind: kindAudio, stream: 1, body: []byte("\xaf\x00\xff\xff\xff\xff")})
			c.await(t, "onStatus")
		}, flv.ErrMalformed},
		"publishes again": {func(t *testing.T, c *conn) { c.call(t, 1, "onStatus", publishKey("other")...) },
			&Refusal{Code: CodeRejected, Description: "this connection is publishing already"}},
	} {
		bubble(t, &Server{}, func(t *testing.T, dial func() net.Conn, ends <-chan ending) {
			c := onAir(t, dial())
			defer c.nc.Close()
			tt.end(t, c)
			err := (<-ends).err
			if !errors.Is(err, tt.want) && err.Error() != tt.want.Error() {
				t.Errorf("%s: ReadFrame = %v, want %v", name, err, tt.want)
			}
		})
	}
}

// Silence is counted from the last byte, to the second, however small the bytes'
// messages are; and bytes that trickle are not silence.
func TestSilence(t *testing.T) {
	bubble(t, &Server{}, func(t *testing.T, dial func() net.Conn, ends <-chan ending) {
		c := onAir(t, dial())
		defer c.nc.Close()
		if err := c.nc.SetDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		for _, b := range append([]byte{2, 0, 0, 0, 0, 0, 200, kindAck, 0, 0, 0, 0}, make([]byte, 128)...) {
			time.Sleep(29 * time.Second)
			if _, err := c.nc.Write([]byte{b}); err != nil {
				t.Fatal(err)
			}
		}
		last := time.Now()
		e := <-ends
		if !errors.Is(e.err, ErrSilent) || time.Since(last) != 30*time.Second {
			t.Errorf("ended after %v with %v, want 30 s of silence", time.Since(last), e.err)
		}
	})
}

func TestReadTimeoutIsASetting(t *testing.T) {
	bubble(t, &Server{ReadTimeout: 3 * time.Second}, func(t *testing.T, dial func() net.Conn, ends <-chan ending) {
		c := onAir(t, dial())
		defer c.nc.Close()
		start := time.Now()
		if e := <-ends; !errors.Is(e.err, ErrSilent) || time.Since(start) != 3*time.Second {
			t.Errorf("ended after %v with %v", time.Since(start), e.err)
		}
	})
}

// Everything before publish has ten seconds, however it is dragged out.
func TestHandshakeTimeout(t *testing.T) {
	for name, drag := range map[string]func(t *testing.T, nc net.Conn){
		"says nothing": func(*testing.T, net.Conn) {},
		"half a C1":    func(_ *testing.T, nc net.Conn) { nc.Write(append([]byte{version}, make([]byte, 700)...)) }, //nolint:errcheck // cut off
		"one byte a second": func(_ *testing.T, nc net.Conn) {
			for b := byte(3); ; b = 0 {
				if _, err := nc.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		},
		"no connect":    func(t *testing.T, nc net.Conn) { shake(t, nc) },
		"no publish":    func(t *testing.T, nc net.Conn) { shake(t, nc).call(t, 0, "_result", connectTo("app")...) },
		"does not read": func(_ *testing.T, nc net.Conn) { nc.Write(append([]byte{version}, make([]byte, handshakeSize)...)) }, //nolint:errcheck // cut off
	} {
		bubble(t, &Server{}, func(t *testing.T, dial func() net.Conn, ends <-chan ending) {
			nc := dial()
			defer nc.Close()
			start := time.Now()
			drag(t, nc)
			if _, err := io.Copy(io.Discard, nc); err != nil {
				t.Error(err)
			}
			if d := time.Since(start); d > 11*time.Second {
				t.Errorf("%s: closed after %v", name, d)
			}
		})
	}
}

func TestPing(t *testing.T) {
	bubble(t, &Server{}, func(t *testing.T, dial func() net.Conn, ends <-chan ending) {
		c := shake(t, dial())
		defer c.nc.Close()
		c.send(chunkControl, message{kind: kindUserControl, body: []byte{0, eventPingRequest, 1, 2, 3, 4}})
		m, err := c.readAny()
		if err != nil || m.kind != kindUserControl || string(m.body) != "\x00\x07\x01\x02\x03\x04" {
			t.Errorf("pong %+v, %v", m, err)
		}
	})
}

// readAny returns the next message, also one about the connection itself.
func (c *conn) readAny() (message, error) {
	if err := c.flush(); err != nil {
		return message{}, err
	}
	return c.in.read()
}

// The server reports the bytes it has received once in each window of the
// client's choice.
func TestAcknowledgement(t *testing.T) {
	bubble(t, &Server{}, func(t *testing.T, dial func() net.Conn, ends <-chan ending) {
		c := onAir(t, dial())
		defer c.nc.Close()
		c.sendUint32(kindWindowSize, 100_000)
		c.setChunkSize(60_000)
		for range 2 { // in memory, nobody reads while he writes
			c.send(chunkData, message{kind: kindData, stream: 1, body: make([]byte, 50_000)})
		}
		for {
			m, err := c.readAny()
			if err != nil {
				t.Fatal(err)
			}
			if m.kind == kindAck {
				if n := binary.BigEndian.Uint32(m.body); n < 100_000 || n > 160_000 {
					t.Errorf("acknowledged %d bytes", n)
				}
				return
			}
		}
	})
}

func TestAggregateMessage(t *testing.T) {
	tag := func(kind, ms string, body string) string {
		return kind + hex.EncodeToString([]byte{0, 0, byte(len(body) / 2)}) + ms + "00000000" + body + "00000000"
	}
	const config, frame = "af001190", "af01211004"
	bubble(t, &Server{}, func(t *testing.T, dial func() net.Conn, ends <-chan ending) {
		c := onAir(t, dial())
		body := unhex(t, tag("08", "0003e8", config)+tag("08", "0003e8", frame)+tag("08", "0003ff", frame))
		c.send(chunkAudio, message{kind: kindAggregate, stream: 1, time: 5000, body: body})
		c.sendCommand(1, amf0.String("closeStream"), amf0.Number(0))
		c.await(t, "onStatus")
		c.nc.Close()
		e := <-ends
		if len(e.frames) != 2 || e.frames[0].DTS != 5*time.Second || e.frames[1].DTS != 5023*time.Millisecond {
			t.Errorf("frames %+v", e.frames)
		}
	})
}

func TestProtocolErrors(t *testing.T) {
	for name, m := range map[string]message{
		"short control message":       {kind: kindSetChunkSize, body: []byte{0}},
		"chunk size 0":                {kind: kindSetChunkSize, body: make([]byte, 4)},
		"negative chunk size":         {kind: kindSetChunkSize, body: []byte{0x80, 0, 0, 1}},
		"short user control":          {kind: kindUserControl, body: []byte{0}},
		"aggregate cut":               {kind: kindAggregate, body: []byte{8}},
		"aggregate part cut":          {kind: kindAggregate, body: []byte{8, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0}},
		"aggregate ends in a header":  {kind: kindAggregate, body: []byte{8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8}},
		"empty command":               {kind: kindCommand},
		"command named by a number":   {kind: kindCommand, body: amf0.Append(nil, amf0.Number(1), amf0.Number(1))},
		"command with a cut name":     {kind: kindCommand, body: []byte{2, 0, 9, 'x'}},
		"empty command in a wrapper":  {kind: kindCommandAMF3},
		"message longer than allowed": {kind: kindData, body: make([]byte, maxMessage+1)},
	} {
		bubble(t, &Server{}, func(t *testing.T, dial func() net.Conn, ends <-chan ending) {
			c := onAir(t, dial())
			defer c.nc.Close()
			c.send(chunkControl, m)
			c.flush() //nolint:errcheck // the server may have closed
			if err := (<-ends).err; !errors.Is(err, errProtocol) {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}

// Before a broadcaster is accepted it cannot make the server hold much.
func TestCommandsAreBounded(t *testing.T) {
	bubble(t, &Server{}, func(t *testing.T, dial func() net.Conn, ends <-chan ending) {
		c := shake(t, dial())
		defer c.nc.Close()
		c.setChunkSize(1 << 20)
		c.send(chunkCommand, message{kind: kindCommand, body: make([]byte, maxCommand+1)})
		if m, err := c.readAny(); err == nil {
			t.Errorf("the server answered %+v", m)
		}
	})
}

func TestCommandBeforeConnect(t *testing.T) {
	bubble(t, &Server{}, func(t *testing.T, dial func() net.Conn, ends <-chan ending) {
		c := shake(t, dial())
		defer c.nc.Close()
		c.sendCommand(1, publishKey("key")...)
		if m, err := c.readAny(); err == nil {
			t.Errorf("the server answered %+v", m)
		}
	})
}

func TestPlayAndBadNames(t *testing.T) {
	for code, send := range map[string][]amf0.Value{
		"NetStream.Play.Failed": {amf0.String("play"), amf0.Number(0), amf0.Null{}, amf0.String("key")},
		CodeBadName:             publishKey(strings.Repeat("k", 1025)),
	} {
		bubble(t, &Server{}, func(t *testing.T, dial func() net.Conn, ends <-chan ending) {
			c := shake(t, dial())
			defer c.nc.Close()
			c.call(t, 0, "_result", connectTo("app")...)
			got := c.call(t, 1, "onStatus", send...)
			if info := got[0].arg(1); amf0.Get(info, "code") != amf0.String(code) || amf0.Get(info, "level") != amf0.String("error") {
				t.Errorf("answered %v, want %s", info, code)
			}
		})
	}
}

// Whatever follows a good handshake, and instead of one, the connection ends.
func FuzzServer(f *testing.F) {
	session := func(messages ...message) []byte {
		w := chunkWriter{chunkSize: 128}
		w.append(chunkCommand, message{kind: kindCommand, body: amf0.Append(nil, connectTo("app")...)}, nil)
		w.append(chunkCommand, message{kind: kindCommand, stream: 1, body: amf0.Append(nil, publishKey("key?x=1")...)}, nil)
		for _, m := range messages {
			w.append(chunkVideo, m, nil)
		}
		return w.buf
	}
	f.Add(true, session())
	f.Add(true, session(message{kind: kindSetChunkSize, body: []byte{0, 0, 0, 1}}, message{kind: kindVideo, body: []byte("\x17\x01\x00\x00\x00")}))
	f.Add(true, session(message{kind: kindAggregate, body: unhex(f, "080000040003e800000000af00119000000000")}))
	f.Add(true, session(message{kind: kindUserControl, body: []byte{0, 6, 0, 0, 0, 0}}, message{kind: kindAbort, body: []byte{0, 0, 0, 6}}))
	f.Add(true, session(message{kind: kindCommand, body: amf0.Append(nil, amf0.String("FCUnpublish"), amf0.Number(1))}))
	f.Add(false, []byte{3})
	f.Add(false, []byte("GET / HTTP/1.1\r\n"))
	f.Fuzz(func(t *testing.T, shaken bool, raw []byte) {
		client, server := net.Pipe()
		s := &Server{Log: slog.New(slog.DiscardHandler), Handle: func(_ context.Context, p *Publisher) error {
			err := p.Accept()
			for err == nil {
				_, err = p.ReadFrame()
			}
			return err
		}}
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.serveConn(t.Context(), server)
		}()
		go io.Copy(io.Discard, client) //nolint:errcheck // ends with the connection
		if shaken {
			hello := make([]byte, 1+2*handshakeSize)
			rand.Read(hello) //nolint:errcheck // never fails
			hello[0] = version
			client.Write(hello) //nolint:errcheck // shows below
		}
		client.Write(raw) //nolint:errcheck // the server may have had enough
		client.Close()
		<-done
	})
}
