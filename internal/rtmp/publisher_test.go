package rtmp

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/internal/amf0"
	"github.com/millrace/millrace/internal/flv"
	"github.com/millrace/millrace/internal/ingest"
	"github.com/millrace/millrace/internal/wiretest"
)

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
			c.nc.Write([]byte{4, 0, 0, 0, 0, 0, 100, 8, 1, 0, 0, 0, 0xaf}) // the reader may be gone
			c.nc.Close()
		}, io.ErrUnexpectedEOF},
		"garbage": {func(_ *testing.T, c *conn) { c.nc.Write([]byte{0xff, 0xff}) }, errProtocol}, // as above
		"silent":  {func(*testing.T, *conn) { time.Sleep(31 * time.Second) }, ErrSilent},
		"HEVC": {func(t *testing.T, c *conn) {
			c.send(chunkVideo, message{kind: kindVideo, stream: 1, body: []byte("\x90hvc1")})
			got := c.await(t, "onStatus")
			if text, _ := amf0.Get(got[0].arg(1), "description").(amf0.String); !strings.Contains(string(text), "HEVC") {
				t.Errorf("the encoder is told %v", got)
			}
		}, ingest.Refuse(ingest.Unsupported, (&flv.UnsupportedError{Codec: "HEVC video"}).Error())},
		"AAC-LD": {func(t *testing.T, c *conn) {
			c.send(chunkAudio, message{kind: kindAudio, stream: 1, body: []byte("\xaf\x00\xb9\x90\x00")})
			c.await(t, "onStatus")
		}, ingest.Refuse(ingest.Unsupported, (&flv.UnsupportedError{Codec: "AAC-LD (MPEG-4 audio object type 23)"}).Error())},
		"publishes again": {func(t *testing.T, c *conn) { c.call(t, 1, "onStatus", publishKey("other")...) },
			&refusal{CodeRejected, "this connection is publishing already"}},
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

// streams sends what a stream begins with.
func (c *conn) streams(t testing.TB) {
	t.Helper()
	c.send(chunkVideo, message{kind: kindVideo, stream: 1, body: wiretest.Hex("1700000000" + avc)})
	c.send(chunkVideo, message{kind: kindVideo, stream: 1, body: wiretest.Hex("1701000000" + sei + idr)})
	c.send(chunkAudio, message{kind: kindAudio, stream: 1, body: wiretest.Hex("af001190")})
	if err := c.flush(); err != nil {
		t.Fatal(err)
	}
}

// What libx264 configures a decoder with, and two NAL units.
const (
	avc = "0142c01effe100196742c01ed900a02ff97011000003000100000300320f162e4801000568cb83cb20"
	idr = "00000003658884"
	sei = "00000003060100"
)

// Silence is counted from the last frame, to the second: neither bytes that trickle
// nor messages with nothing in them hold a channel.
func TestSilence(t *testing.T) {
	frame := message{kind: kindAudio, stream: 1, body: wiretest.Hex("af01211004")}
	empty := []message{
		{kind: kindVideo, stream: 1}, {kind: kindAudio, stream: 1}, {kind: kindData, stream: 1}, {kind: kindAck, body: make([]byte, 4)},
		{kind: kindVideo, stream: 1, body: wiretest.Hex("1701000000")}, {kind: kindAudio, stream: 1, body: wiretest.Hex("af01")},
		{kind: kindVideo, stream: 1, body: wiretest.Hex("1700000000" + avc)},
	}
	bubble(t, &Server{}, func(t *testing.T, dial func() net.Conn, ends <-chan ending) {
		c := onAir(t, dial())
		defer c.nc.Close()
		if err := c.nc.SetDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		c.writeTimeout = time.Hour
		c.streams(t)
		for range 4 {
			time.Sleep(29 * time.Second)
			c.send(chunkAudio, frame)
			if err := c.flush(); err != nil {
				t.Fatal(err)
			}
		}
		last := time.Now()
		for i := range 29 {
			time.Sleep(time.Second)
			c.send(chunkVideo, empty[i%len(empty)])
			if err := c.flush(); err != nil {
				t.Fatal(err)
			}
		}
		e := <-ends
		if !errors.Is(e.err, ErrSilent) || time.Since(last) != 30*time.Second {
			t.Errorf("ended after %v with %v, want 30 s without a frame", time.Since(last), e.err)
		}
	})
}

// A stream without anything to see is ended in words that say what is missing, 10 s
// after its first message.
func TestNothingToSee(t *testing.T) {
	video := func(body string) []message { return []message{{kind: kindVideo, stream: 1, body: wiretest.Hex(body)}} }
	both := func(messages ...[]message) (all []message) { return slices.Concat(messages...) }
	audio := []message{{kind: kindAudio, stream: 1, body: wiretest.Hex("af01211004")}}
	transport := slices.Repeat(append([]byte{0x47}, make([]byte, 187)...), 7)
	for name, tt := range map[string]struct {
		send []message
		want string
	}{
		"metadata alone":          {[]message{{kind: kindData, stream: 1, body: flv.AppendMetadata(nil, flv.Metadata{})}}, "neither video nor audio"},
		"audio alone":             {both([]message{{kind: kindAudio, stream: 1, body: wiretest.Hex("af001190")}}, audio), "has no video"},
		"audio without header":    {audio, "has no video"},
		"no sequence header":      {both(video("1701000000"+idr), audio), "no sequence header"},
		"damaged sequence header": {both(video("170000000001"), video("1701000000"+idr)), "cannot be used"},
		"no key frame":            {both(video("1700000000"+avc), video("2701000000"+"00000003419a21")), "No key frame"},
		"only headers":            {video("1700000000" + avc), "No key frame"},
		"not H.264":               {both(video("1700000000"+avc), video("2701000000"+"deadbeef")), "do not hold NAL units"},
		"transport stream":        {[]message{{kind: kindVideo, stream: 1, body: transport}}, "transport stream"},
		"transport stream in it":  {[]message{{kind: kindVideo, stream: 1, body: append(wiretest.Hex("1701000000"), transport...)}}, "transport stream"},
	} {
		bubble(t, &Server{}, func(t *testing.T, dial func() net.Conn, ends <-chan ending) {
			c := onAir(t, dial())
			defer c.nc.Close()
			time.Sleep(15 * time.Second) // before the first message there is time
			first := time.Now()
			told := make(chan command, 1)
			go func() {
				defer close(told)
				for {
					m, err := c.readMessage()
					if err != nil {
						return
					}
					if cmd, err := parseCommand(m); err == nil && cmd.name == "onStatus" {
						told <- cmd
						return
					}
				}
			}()
			for time.Since(first) <= 10*time.Second {
				for _, m := range tt.send {
					m.time = uint32(time.Since(first).Milliseconds())
					c.send(chunkVideo, m)
				}
				if c.flush() != nil {
					break // the server has had enough
				}
				time.Sleep(40 * time.Millisecond)
			}
			text, _ := amf0.Get((<-told).arg(1), "description").(amf0.String)
			var refused *ingest.Refusal
			if e := <-ends; !errors.As(e.err, &refused) || !strings.Contains(refused.Text, tt.want) || string(text) != refused.Text {
				t.Errorf("%s: %v, want %q; the encoder is told %q", name, e.err, tt.want, text)
			}
			if d := time.Since(first); d < 10*time.Second || d > 13*time.Second {
				t.Errorf("%s: ended after %v", name, d)
			}
		})
	}
}

// An encoder that asks and does not read the answers takes no memory with them.
func TestUnreadAnswersAreNotKept(t *testing.T) {
	bubble(t, &Server{}, func(t *testing.T, dial func() net.Conn, ends <-chan ending) {
		c := onAir(t, dial())
		defer c.nc.Close()
		c.streams(t)
		ping := message{kind: kindUserControl, body: []byte{0, eventPingRequest, 0, 0, 0, 0}}
		for range 100_000 {
			c.out.append(chunkControl, ping, nil)
		}
		pings := slices.Clone(c.out.buf)
		c.out.buf = c.out.buf[:0]
		if err := c.nc.SetWriteDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.nc.Write(pings); err != nil { // it continues when its answers cannot be written
			t.Fatal(err)
		}
		if _, err := c.nc.Write([]byte{2, 0, 0, 0, 0, 0, 4, kindSetChunkSize, 0, 0, 0, 0, 0, 0, 0, 0}); err != nil { // the end
			t.Fatal(err)
		}
		if e := <-ends; !errors.Is(e.err, errProtocol) || cap(e.p.c.out.buf) > 1<<20 {
			t.Errorf("ended with %v, with %d bytes of answers", e.err, cap(e.p.c.out.buf))
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

// A TLS connection outlives the deadlines at which it is looked at, too.
func TestSilenceUnderTLS(t *testing.T) {
	hs := httptest.NewUnstartedServer(nil)
	hs.StartTLS()
	config := &tls.Config{Certificates: hs.TLS.Certificates}
	hs.Close()
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		ends, done := make(chan ending, 1), make(chan struct{})
		s := &Server{Log: slog.New(slog.DiscardHandler), Handle: untilEnd(ends)}
		go func() {
			defer close(done)
			s.serveConn(t.Context(), s.newConn(tls.Server(server, config)), func() {})
		}()
		c := onAir(t, tls.Client(client, &tls.Config{InsecureSkipVerify: true}))
		for range 4 {
			time.Sleep(20 * time.Second)
			c.streams(t)
		}
		last := time.Now()
		if e := <-ends; !errors.Is(e.err, ErrSilent) || time.Since(last) != 30*time.Second || !e.p.TLS {
			t.Errorf("ended after %v with %v", time.Since(last), e.err)
		}
		client.Close()
		<-done
	})
}

// Everything before publish has ten seconds, however it is dragged out.
func TestHandshakeTimeout(t *testing.T) {
	for name, drag := range map[string]func(t *testing.T, nc net.Conn){
		"says nothing": func(*testing.T, net.Conn) {},
		"half a C1":    func(_ *testing.T, nc net.Conn) { nc.Write(append([]byte{version}, make([]byte, 700)...)) }, // cut off
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
		"does not read": func(_ *testing.T, nc net.Conn) { nc.Write(append([]byte{version}, make([]byte, handshakeSize)...)) }, // cut off
	} {
		bubble(t, &Server{}, func(t *testing.T, dial func() net.Conn, ends <-chan ending) {
			nc := dial()
			defer nc.Close()
			start := time.Now()
			drag(t, nc)
			if _, err := io.Copy(io.Discard, nc); err != nil {
				t.Error(err)
			}
			// The listener is out of descriptors for 155 ms, and who sends a byte a second
			// may send one just before the end, and see it with the next.
			if d := time.Since(start); d > 11200*time.Millisecond {
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

// The server reports the bytes it has received once in each window of the
// client's choice.
func TestAcknowledgement(t *testing.T) {
	bubble(t, &Server{}, func(t *testing.T, dial func() net.Conn, ends <-chan ending) {
		c := onAir(t, dial())
		defer c.nc.Close()
		c.sendUint32(kindWindowSize, 100_000)
		c.setChunkSize(60_000)
		for range 2 { // in memory, the peer does not read while it writes
			c.send(chunkData, message{kind: kindData, stream: 1, body: make([]byte, 50_000)})
		}
		var acks []uint32
		for answers := 0; answers < 2; {
			m, err := c.readAny()
			if err != nil {
				t.Fatal(err)
			}
			switch m.kind {
			case kindAck:
				acks = append(acks, binary.BigEndian.Uint32(m.body))
				c.sendCommand(0, amf0.String("createStream"), amf0.Number(9))
			case kindCommand:
				c.sendCommand(0, amf0.String("createStream"), amf0.Number(10))
				answers++
			}
		}
		if len(acks) != 1 || acks[0] < 100_000 || acks[0] > 110_000 {
			t.Errorf("acknowledged %d bytes", acks)
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
		body := wiretest.Hex(tag("08", "0003e8", config) + tag("08", "0003e8", frame) + tag("08", "0003ff", frame))
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
			c.flush() // the server may have closed
			if err := (<-ends).err; !errors.Is(err, errProtocol) {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}

// Whatever follows a good handshake, and instead of one, the connection ends,
// and not by a panic, which the server would survive.
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
	f.Add(true, session(message{kind: kindAggregate, body: wiretest.Hex("080000040003e800000000af00119000000000")}))
	f.Add(true, session(message{kind: kindUserControl, body: []byte{0, 6, 0, 0, 0, 0}}, message{kind: kindAbort, body: []byte{0, 0, 0, 6}}))
	f.Add(true, session(message{kind: kindCommand, body: amf0.Append(nil, amf0.String("FCUnpublish"), amf0.Number(1))}))
	f.Add(false, []byte{3})
	f.Add(false, []byte("GET / HTTP/1.1\r\n"))
	f.Fuzz(func(t *testing.T, shaken bool, raw []byte) {
		client, server := net.Pipe()
		var panics bytes.Buffer
		s := &Server{Log: slog.New(slog.NewTextHandler(&panics, &slog.HandlerOptions{Level: slog.LevelError})), Handle: func(_ context.Context, p *Publisher) error {
			err := p.Accept()
			for err == nil {
				_, err = p.ReadFrame()
			}
			return err
		}}
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.serveConn(t.Context(), s.newConn(server), func() {})
		}()
		go io.Copy(io.Discard, client) // ends with the connection
		if shaken {
			hello := make([]byte, 1+2*handshakeSize)
			rand.Read(hello) // never fails
			hello[0] = version
			client.Write(hello) // shows below
		}
		client.Write(raw) // the server may have had enough
		client.Close()
		<-done
		if panics.Len() > 0 {
			t.Error(panics.String())
		}
	})
}
