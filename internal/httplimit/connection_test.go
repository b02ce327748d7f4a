package httplimit

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/hls/hlsplayer"
	"github.com/millrace/millrace/internal/httplimit/http2test"
	"github.com/millrace/millrace/internal/proxies"
	"github.com/millrace/millrace/internal/wiretest"
)

// An address is that of a client.
type address string

func (address) Network() string  { return "tcp" }
func (a address) String() string { return string(a) }

// connected returns both ends of a connection from that address.
func connected(t *testing.T, client address) (ours, theirs net.Conn) {
	t.Helper()
	l := wiretest.Listen(address("192.0.2.100:80"))
	theirs = l.Dial(client)
	t.Cleanup(func() { theirs.Close() })
	ours, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return &headerConn{Conn: ours}, theirs
}

// servePipe serves one connection, of a client at that address, within the bubble
// of synctest. What the client closes ends.
func servePipe(t *testing.T, client address, trusted proxies.Trusted, handler http.HandlerFunc) (conn net.Conn, end func()) {
	t.Helper()
	server := NewServer(handler, handler, 1000, trusted, slog.New(slog.DiscardHandler))
	l := wiretest.Listen(address("192.0.2.100:80"))
	ours := l.Dial(client)
	served := make(chan struct{})
	counted, _ := CountHeaders(server, 1<<20, trusted, l, nil)
	go func() { defer close(served); server.Serve(counted) }()
	return ours, func() {
		ours.Close()
		server.Close()
		<-served
	}
}

// Connections last no longer than docs/limits.md says, whatever their clients do or
// leave undone.
func TestConnectionTimes(t *testing.T) {
	const get = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
	for name, tt := range map[string]struct {
		send, then string                  // at once, and every second
		read       func(nc net.Conn) error // nil: all that comes
		ends       time.Duration
	}{
		"silence":               {"", "", nil, 10 * time.Second},
		"half a header":         {"GET / HTTP/1.1\r\nHost: ", "x", nil, 10 * time.Second},
		"half a body":           {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n", "x", nil, 30 * time.Second},
		"a kilobyte a second":   {"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n", "", readSlowly, time.Minute},
		"idle":                  {get, "", nil, 2 * time.Minute},
		"HTTP/2 without a pong": {http2test.Preface + http2test.Settings, "", nil, 30 * time.Second},
		"HTTP/2 idle":           {http2test.Preface + http2test.Settings, "", http2test.AnswerPings, 2 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				nc, end := servePipe(t, "192.0.2.1:4711", nil, func(w http.ResponseWriter, r *http.Request) {
					io.Copy(io.Discard, r.Body) // until it ends, or takes too long
					for r.URL.Path == "/endless" {
						if _, err := w.Write(make([]byte, 4<<10)); err != nil {
							return
						}
					}
				})
				defer end()
				began := time.Now()
				var writing sync.WaitGroup
				writing.Go(func() {
					_, err := io.WriteString(nc, tt.send)
					for err == nil && tt.then != "" {
						time.Sleep(time.Second)
						_, err = io.WriteString(nc, tt.then)
					}
				})
				read := tt.read
				if read == nil {
					read = func(nc net.Conn) error { _, err := io.Copy(io.Discard, nc); return err }
				}
				if err := read(nc); err != nil {
					t.Error(err)
				}
				// What was refused is read for half a second more; HTTP/2 says goodbye.
				if d := time.Since(began); d < tt.ends || d > tt.ends+2*time.Second {
					t.Errorf("the connection lasted %v, want %v", d, tt.ends)
				}
				nc.Close()
				writing.Wait()
			})
		})
	}
}

// Whoever takes too little of a segment is cut off, over both versions of HTTP, and
// whoever still reads one when it leaves the window: then its memory is free.
func TestSlowReadersOfMedia(t *testing.T) {
	for name, tt := range map[string]struct {
		protocol string
		take     int           // bytes, every second
		leaves   time.Duration // when the segment leaves the window; 0: it does not
		ends     time.Duration
	}{
		"takes nothing":                        {"HTTP/1.1", 0, 0, hls.StallTime},
		"takes nothing over HTTP/2":            {"HTTP/2", 0, 0, hls.StallTime},
		"takes a kilobyte a second":            {"HTTP/1.1", 1 << 10, 0, hls.StallTime},
		"takes half of it":                     {"HTTP/1.1", 64 << 10, 0, time.Minute},
		"leaves the window":                    {"HTTP/1.1", 64 << 10, 5 * time.Second, 5 * time.Second},
		"leaves the window, over HTTP/2":       {"HTTP/2", 0, 5 * time.Second, 5 * time.Second},
		"takes nothing, and leaves the window": {"HTTP/1.1", 0, 5 * time.Second, 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &hls.Stream{Window: 12 * time.Second}
				defer s.Release()
				r := s.AddRendition("source", hls.Listing{})
				next := int64(0)
				add := func(n int, size int) {
					for range n {
						if err := r.AddPart(hls.Head{Number: next, Init: &hls.Init{}, Independent: true}, hls.Part{Number: next, End: 2 * time.Second, Duration: 2 * time.Second}, hls.Details{}, make([]byte, size)); err != nil {
							t.Error(err)
						}
						r.EndSegment(2*time.Second, false)
						next++
					}
				}
				add(1, 8<<20)
				nc, end := servePipe(t, "192.0.2.1:4711", nil, hlsplayer.Handler(s).ServeHTTP)
				defer end()
				began, cut := time.Now(), make(chan struct{})
				go func() {
					defer close(cut)
					if tt.protocol == "HTTP/2" {
						readUntilReset(nc, "/source/0.ts")
					} else {
						takeUntilClosed(nc, "GET /source/0.ts HTTP/1.1\r\nHost: x\r\n\r\n", tt.take)
					}
				}()
				if tt.leaves > 0 {
					time.Sleep(tt.leaves)
					before, _ := hls.MemoryFiles()
					add(40, 1)
					synctest.Wait()
					if _, size := hls.MemoryFiles(); size > 1<<20 {
						t.Errorf("%d bytes are held when the segment has left the window, of %d files", size, before)
					}
				}
				<-cut
				if d := time.Since(began); d < tt.ends-time.Second || d > tt.ends+2*time.Second {
					t.Errorf("the reader was cut off after %v, want %v", d, tt.ends)
				}
			})
		})
	}
}

// takeUntilClosed asks for something and takes so many bytes of it a second, until
// the server has closed.
func takeUntilClosed(nc net.Conn, ask string, take int) {
	if _, err := io.WriteString(nc, ask); err != nil {
		return
	}
	for {
		time.Sleep(time.Second)
		if _, err := io.ReadFull(nc, make([]byte, take)); err != nil {
			return
		}
		if take == 0 { // whether it is closed can be seen by writing
			if _, err := io.WriteString(nc, "x"); err != nil {
				return
			}
		}
	}
}

// readUntilReset asks for something over HTTP/2 with a window of nothing, and
// answers pings, until the server resets the stream.
func readUntilReset(nc net.Conn, path string) {
	go io.WriteString(nc, http2test.Preface+http2test.NoWindow+http2test.Get(1, path)) // ends with the connection
	_ = http2test.ReadFrames(nc, func(kind byte, payload []byte) {
		switch kind {
		case http2test.Ping:
			io.WriteString(nc, http2test.Frame(http2test.Ping, 1, 0, string(payload))) // the server may have closed
		case http2test.RSTStream:
			nc.Close()
		}
	})
}

// readSlowly takes a kilobyte a second until the server has closed.
func readSlowly(nc net.Conn) error {
	for {
		if _, err := io.ReadFull(nc, make([]byte, 1<<10)); err != nil {
			return nil
		}
		time.Sleep(time.Second)
	}
}

// The body of a request that needs none takes no memory, however long the request
// waits; and neither does that of another, while the answer is not read.
func TestBodiesAreDiscarded(t *testing.T) {
	for name, tt := range map[string]struct {
		method         byte // of RFC 7541, appendix A
		settings, path string
	}{
		"of a GET that waits":             {0x82, http2test.Settings, "/wait"},
		"of a POST with an unread answer": {0x83, http2test.NoWindow, "/answer"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				nc, end := servePipe(t, "192.0.2.1:4711", nil, func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/wait" {
						<-r.Context().Done()
					}
					io.WriteString(w, "an answer")
				})
				defer end()
				pongs := make(chan struct{})
				go http2test.ReadFrames(nc, func(kind byte, payload []byte) {
					if kind == http2test.Ping {
						pongs <- struct{}{}
					}
				})
				heap := func() uint64 {
					synctest.Wait()
					runtime.GC()
					var m runtime.MemStats
					runtime.ReadMemStats(&m)
					return m.HeapAlloc
				}
				io.WriteString(nc, http2test.Preface+tt.settings)
				before, data := heap(), strings.Repeat("x", maxFrame)
				for stream := uint32(1); stream <= 7; stream += 2 {
					io.WriteString(nc, http2test.Begin(tt.method, stream, tt.path))
					for range 7 { // within the window
						io.WriteString(nc, http2test.Frame(0, 0, stream, data))
					}
				}
				io.WriteString(nc, http2test.Frame(http2test.Ping, 0, 0, "12345678"))
				<-pongs // all has arrived
				if grown := int64(heap()) - int64(before); grown > 200<<10 {
					t.Errorf("%d bytes are held of bodies of %d", grown, 4*7*maxFrame)
				}
			})
		})
	}
}

// HTTP/2 receives no more than docs/limits.md says before it is read.
func TestUploadWindows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nc, end := servePipe(t, "192.0.2.1:4711", nil, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		defer end()
		settings, window := map[uint16]uint32{}, uint32(65_535)
		opened := make(chan struct{}) // the window of the connection has come: behind an error it would not
		open := sync.OnceFunc(func() { close(opened) })
		defer open()
		go func() {
			io.WriteString(nc, http2test.Preface+http2test.Settings+http2test.Begin(0x83, 1, "/"))
			<-opened
			io.WriteString(nc, http2test.Frame(0, 0, 1, strings.Repeat("x", maxFrame+1)))
		}()
		goodbye := false
		http2test.ReadFrames(nc, func(kind byte, payload []byte) {
			switch kind {
			case http2test.SettingsFrame:
				for ; len(payload) >= 6; payload = payload[6:] {
					settings[binary.BigEndian.Uint16(payload)] = binary.BigEndian.Uint32(payload[2:])
				}
			case http2test.WindowUpdate:
				window += binary.BigEndian.Uint32(payload)
				open()
			case http2test.GoAway:
				goodbye = binary.BigEndian.Uint32(payload[4:]) == 6 // FRAME_SIZE_ERROR
			}
		})
		if settings[4] != maxStreamUpload || settings[5] != maxFrame || window != maxConnUpload {
			t.Errorf("settings %v and a window of %d, want %d of a stream, %d of a frame and %d", settings, window, maxStreamUpload, maxFrame, maxConnUpload)
		}
		if !goodbye {
			t.Error("a frame that is too long is accepted")
		}
	})
}

// A client that abandons requests of HTTP/2 as soon as it has made them is cut off;
// one that leaves some now and then is not, and neither is a proxy of many.
func TestRapidReset(t *testing.T) {
	for name, tt := range map[string]struct {
		client address
		pause  time.Duration // after each 50
		most   int           // abandoned requests until the connection is closed; 0: it is not
	}{
		"at once":       {"192.0.2.1:4711", 0, 700},
		"50 in 2 s":     {"192.0.2.1:4711", 2 * time.Second, 0},
		"trusted proxy": {"10.0.0.1:4711", 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			trusted, err := proxies.Parse([]string{"10.0.0.0/8"})
			if err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) {
				var served atomic.Int32
				nc, end := servePipe(t, tt.client, trusted, func(w http.ResponseWriter, r *http.Request) {
					served.Add(1)
					<-r.Context().Done()
				})
				defer end()
				pongs, closed := make(chan struct{}), make(chan struct{})
				go func() {
					defer close(closed)
					http2test.ReadFrames(nc, func(kind byte, payload []byte) {
						if kind == http2test.Ping {
							pongs <- struct{}{}
						}
					})
				}()
				io.WriteString(nc, http2test.Preface+http2test.Settings)
				cut := func(stream int) bool {
					for range 50 {
						io.WriteString(nc, http2test.Get(uint32(stream), "/")+http2test.Reset(uint32(stream))) // it may be closed
						stream += 2
					}
					io.WriteString(nc, http2test.Frame(http2test.Ping, 0, 0, "12345678"))
					select {
					case <-pongs:
						synctest.Wait() // all handlers have returned
						time.Sleep(tt.pause)
						return false
					case <-closed:
						return true
					}
				}
				isCut := false
				for first := 1; first < 2*5000 && !isCut; first += 100 {
					isCut = cut(first)
				}
				if n := int(served.Load()); isCut != (tt.most > 0) || isCut && n > tt.most {
					t.Errorf("after %d requests that were abandoned, closed: %t", n, isCut)
				}
			})
		})
	}
}

// A trusted proxy has no share of one client, whatever its address is.
func TestConnectionsOfProxies(t *testing.T) {
	trusted, err := proxies.Parse([]string{"192.0.2.9", "2001:db8::9"})
	if err != nil {
		t.Fatal(err)
	}
	for client, want := range map[address]int{"192.0.2.9:1": 4, "[2001:db8::9]:1": 4, "192.0.2.8:1": 2, "[2001:db8::8]:1": 2} {
		state, open := watch(&proxies.Conns{Max: 4, PerClient: 2, Trusted: trusted, Yields: yields}), 0
		for range 5 {
			conn, _ := connected(t, client)
			state(conn, http.StateNew)
			conn.SetReadDeadline(time.Now()) // a pipe that is open is not done before that
			if _, err := conn.Read(make([]byte, 1)); err != io.ErrClosedPipe {
				open++
			}
		}
		if open != want {
			t.Errorf("%s may have %d connections, want %d", client, open, want)
		}
	}
}

// On a full port an address with few connections gets one in the place of one of
// the address that has most, as long as that has more than a few.
func TestFullPortHasRoomForOthers(t *testing.T) {
	state := watch(&proxies.Conns{Max: 64, PerClient: 32, Yields: yields})
	dial := func(client string) (nc net.Conn, open func() bool) {
		c, theirs := connected(t, address(client))
		state(c, http.StateNew)
		return c, func() bool {
			theirs.SetReadDeadline(time.Now()) // a pipe that is open is not done before that
			_, err := theirs.Read(make([]byte, 1))
			return err != io.EOF
		}
	}
	var attackers []func() bool
	for n := range 64 {
		_, open := dial(fmt.Sprintf("192.0.2.%d:%d", n%2, n+1))
		attackers = append(attackers, open)
	}
	left := func() (n int) {
		for _, open := range attackers {
			if open() {
				n++
			}
		}
		return n
	}
	if n := left(); n != 64 {
		t.Fatalf("%d of 64 connections are open", n)
	}
	var probes []net.Conn
	for n := range proxies.FewConns + 1 {
		nc, open := dial(fmt.Sprintf("127.0.0.1:%d", n+1))
		if open() != (n < proxies.FewConns) {
			t.Errorf("connection %d of an address with few is open: %t", n+1, open())
		}
		probes = append(probes, nc)
	}
	if n := left(); n != 64-proxies.FewConns {
		t.Errorf("%d connections of those who filled the port are left, want %d", n, 64-proxies.FewConns)
	}
	for n := range 100 { // each is another address
		_, _ = dial(fmt.Sprintf("198.51.100.%d:1", n))
	}
	if n := left(); n != 2*proxies.FewConns {
		t.Errorf("%d connections of those who filled the port are left, want %d each", n, proxies.FewConns)
	}
	if _, open := dial("203.0.113.1:1"); open() {
		t.Error("a connection to a port of which all have few is open")
	}
	state(probes[0], http.StateClosed)
	if _, open := dial("203.0.113.1:1"); !open() {
		t.Error("a place that was given back is not given out")
	}
}

// A place on a full port is taken from a connection without a request in progress as
// long as there is one.
func TestFullPortKeepsRequests(t *testing.T) {
	state := watch(&proxies.Conns{Max: 64, PerClient: 64, Yields: yields})
	var busy, idle []net.Conn
	for n := range 64 {
		c, theirs := connected(t, address(fmt.Sprintf("192.0.2.%d:%d", n%3%2, n+1))) // .0 has twice as many as .1
		state(c, http.StateNew)
		state(c, http.StateActive)
		if busy = append(busy, theirs); n%3 == 1 {
			busy = busy[:len(busy)-1]
			idle = append(idle, theirs)
			state(c, http.StateIdle)
		}
	}
	closed := func(conns []net.Conn) (n int) {
		for _, nc := range conns {
			nc.SetReadDeadline(time.Now()) // a pipe that is open is not done before that
			if _, err := nc.Read(make([]byte, 1)); err == io.EOF {
				n++
			}
		}
		return n
	}
	newcomer := func(n int) {
		c, _ := connected(t, address(fmt.Sprintf("198.51.100.%d:1", n)))
		state(c, http.StateNew)
	}
	spare := len(idle) - proxies.FewConns // of .1, which keeps the others
	for n := range spare {
		newcomer(n)
	}
	if a, b := closed(idle), closed(busy); a != spare || b != 0 {
		t.Errorf("%d idle connections were closed, and %d with a request; want %d and none", a, b, spare)
	}
	newcomer(100)
	if a, b := closed(idle), closed(busy); a != spare || b != 1 {
		t.Errorf("then %d idle connections were closed, and %d with a request; want one of those more", a, b)
	}
}

// A block of headers of HTTP/2 that does not end is received up to 16 KiB, whatever it
// consists of. Then the connection is closed; and a whole one of that size is answered.
func TestUnfinishedHTTP2Headers(t *testing.T) {
	tiny := bytes.Repeat([]byte{0x80 | 15}, 1000) // accept-charset of the static table: 46 bytes each by RFC 9113
	var names, value bytes.Buffer
	encode := hpack.NewEncoder(&names)
	for n := range 1000 {
		encode.WriteField(hpack.HeaderField{Name: fmt.Sprintf("x%04d", n), Sensitive: true})
	}
	hpack.NewEncoder(&value).WriteField(hpack.HeaderField{Name: "long", Value: strings.Repeat("~", 2*MaxHeader2), Sensitive: true})
	for name, block := range map[string][]byte{"one-byte fields": tiny, "short names": names.Bytes(), "a long value": value.Bytes()} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				nc, end := servePipe(t, "192.0.2.1:4711", nil, func(http.ResponseWriter, *http.Request) { t.Error("there is a request") })
				defer end()
				ended := make(chan time.Duration)
				go func() {
					began := time.Now()
					io.Copy(io.Discard, nc)
					ended <- time.Since(began)
				}()
				client := http2.NewFramer(nc, nil)
				io.WriteString(nc, http2.ClientPreface)
				client.WriteSettings()
				client.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x82, 0x86, 0x84}}) // GET http /
				for part := range slices.Chunk(block, 100) {
					if client.WriteContinuation(1, false, part) != nil {
						break // it is closed
					}
				}
				if lasted := <-ended; lasted > 5*time.Second {
					t.Errorf("%d bytes are received, and the connection lasts %v", len(block), lasted)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		nc, end := servePipe(t, "192.0.2.1:4711", nil, func(w http.ResponseWriter, r *http.Request) {
			if len(r.Header.Get("Long")) != MaxHeader2-100 {
				t.Errorf("the header has %d bytes", len(r.Header.Get("Long")))
			}
		})
		defer end()
		client := http2.NewFramer(nc, nc)
		go func() {
			io.WriteString(nc, http2.ClientPreface)
			client.WriteSettings()
			var block bytes.Buffer
			hpack.NewEncoder(&block).WriteField(hpack.HeaderField{Name: "long", Value: strings.Repeat("~", MaxHeader2-100)})
			client.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndStream: true, BlockFragment: []byte{0x82, 0x86, 0x84}})
			client.WriteContinuation(1, true, block.Bytes())
		}()
		for {
			f, err := client.ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			if f.Header().Type == http2.FrameHeaders {
				return
			}
		}
	})
}

// Headers whose end does not come take little memory, however many connections an
// address has and however short the fields are, and leave room for those of others.
func TestHalfReadHeaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		handler := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
		server := NewServer(handler, handler, 1000, nil, slog.New(slog.DiscardHandler))
		l := wiretest.Listen(address("192.0.2.100:80"))
		counted, _ := CountHeaders(server, 256<<10, nil, l, nil)
		headers := counted.(headerListener).limit
		served := make(chan struct{})
		go func() { defer close(served); server.Serve(counted) }()
		defer func() { server.Close(); <-served }()

		var fields strings.Builder
		for n := 0; fields.Len() < 60_000; n++ {
			fmt.Fprintf(&fields, "%c%c%c:\n", 'a'+n%26, 'a'+n/26%26, 'a'+n/676)
		}
		const request = "GET / HTTP/1.1\r\nHost: x\r\n"
		heap := func() int64 {
			synctest.Wait()
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return int64(m.HeapAlloc)
		}
		before := heap()
		for n := range 32 {
			nc := l.Dial(address(fmt.Sprintf("192.0.2.1:%d", n+1)))
			defer nc.Close()
			go io.WriteString(nc, request+fields.String()) // the server may close
		}
		if grown := heap() - before; grown > int64(headers.max/4*HeaderCost+32*(ConnMemory+len(request))) {
			t.Errorf("%d KiB are held", grown>>10)
		}
		other := l.Dial(address("192.0.2.2:1"))
		defer other.Close()
		go io.WriteString(other, request+"Long: "+strings.Repeat("x", 60_000)+"\r\n\r\n")
		if text := make([]byte, 12); func() error { _, err := io.ReadFull(other, text); return err }() != nil || string(text) != "HTTP/1.1 200" {
			t.Errorf("another address is answered %q", text)
		}
		time.Sleep(11 * time.Second) // those headers have not come in time
		other.Close()
		synctest.Wait()
		headers.mu.Lock()
		defer headers.mu.Unlock()
		if n := headers.counted.Total(); n != 0 {
			t.Errorf("%d bytes are counted at the end", n)
		}
	})
}

// Answers over HTTP/2 of which a client takes nothing count as requests until it is cut off,
// however small they are; but two, after which the connection had none in progress.
func TestAnswersThatAreNotTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		limit := &Requests{Max: 20, Sent: true, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			asked.Add(1)
			_, _ = io.WriteString(w, "x") // the client may have left
		})}
		server := NewServer(http.NotFoundHandler(), limit, 1000, nil, slog.New(slog.DiscardHandler))
		l := wiretest.Listen(address("192.0.2.100:80"))
		counted, _ := CountHeaders(server, 256<<10, nil, l, nil)
		served := make(chan struct{})
		go func() { defer close(served); server.Serve(counted) }()
		defer func() { server.Close(); <-served }()
		serving := func() int {
			synctest.Wait()
			return limit.InProgress()
		}

		client := l.Dial(address("192.0.2.1:1"))
		go http2test.AnswerPings(client)
		if _, err := io.WriteString(client, http2test.Preface+http2test.NoWindow+http2test.Gets(func(int) string { return "/" })); err != nil {
			t.Fatal(err)
		}
		held := serving()
		if n := asked.Load(); held > 9 || held < 9-MaxUnsent || n != int64(held+MaxUnsent) { // 9 leave as many to others, and 2
			t.Errorf("%d requests are in progress, of %d that the handler has answered", held, n)
		}
		time.Sleep(2 * time.Minute)
		if n := serving(); n != 0 {
			t.Errorf("%d requests are in progress after the time that an answer may take", n)
		}
		client.Close()

		other := l.Dial(address("192.0.2.1:2"))
		go http2test.AnswerPings(other)
		begin := http2test.Preface + http2test.Settings
		for n := range uint32(30) { // one after the other
			if _, err := io.WriteString(other, begin+http2test.Get(2*n+1, "/")); err != nil {
				t.Fatal(err)
			}
			if got := serving(); got != 0 {
				t.Errorf("%d requests are in progress that were answered", got)
			}
			begin = ""
		}
		if n := asked.Load(); n != int64(held+MaxUnsent+30) {
			t.Errorf("%d requests were answered", n)
		}
		other.Close()
	})
}

// A client of HTTP/2 that sends and does not read is read from no more, and goes on once it
// reads. It is known by its first bytes, however they are cut; what only begins like them
// is HTTP/1.1.
func TestBackpressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, client := net.Pipe()
		c := &headerConn{Conn: server, limit: &headerLimit{max: 1 << 20}}
		read := 0
		go func() {
			for b := make([]byte, 1000); ; {
				n, err := c.Read(b)
				if read += n; err != nil {
					return
				}
			}
		}()
		for _, piece := range []string{http2Start[:1], http2Start[1:20], http2Start[20:] + "a frame"} { // as segments of TCP may be cut
			if _, err := io.WriteString(client, piece); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		read = 0
		go func() { _, _ = c.Write([]byte("an answer")) }()
		synctest.Wait()
		sent := make(chan error, 1)
		go func() { _, err := client.Write(make([]byte, 100<<10)); sent <- err }()
		synctest.Wait()
		if read < maxUnread || read > maxUnread+1000 {
			t.Errorf("%d bytes were read of a client that does not read", read)
		}
		if _, err := io.ReadFull(client, make([]byte, len("an answer"))); err != nil {
			t.Fatal(err)
		}
		if err := <-sent; err != nil {
			t.Error(err)
		}
		client.Close()
		server.Close()
		synctest.Wait()
		if read != 100<<10 {
			t.Errorf("%d bytes were read", read)
		}
	})
	for _, pieces := range [][]string{{"GET / HTTP/1.1"}, {"PRI * HTTP/1.1\r\n\r\n"}, {http2Start[:20], "XM\r\n\r\n"}, {"G", http2Start}, {http2Start[:4], http2Start}} {
		var c headerConn
		for _, piece := range pieces {
			if c.startsHTTP2([]byte(piece)) {
				t.Errorf("%q begins HTTP/2", pieces)
			}
		}
	}
}

// A client of HTTP/2 that reads a little every while has no more answers in memory than one
// that reads nothing.
func TestBackpressureOfSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := NewServer(http.NotFoundHandler(), http.NotFoundHandler(), 1000, nil, slog.New(slog.DiscardHandler))
		l := wiretest.Listen(address("192.0.2.100:80"))
		counted, _ := CountHeaders(server, 256<<10, nil, l, nil)
		served := make(chan struct{})
		go func() { defer close(served); server.Serve(counted) }()
		defer func() { server.Close(); <-served }()

		client := l.Dial(address("192.0.2.1:1"))
		var sent atomic.Int64
		pinged := make(chan struct{})
		go func() {
			defer close(pinged)
			ping := []byte(http2test.Frame(http2test.Ping, 0, 0, "01234567"))
			_, err := io.WriteString(client, http2test.Preface+http2test.Settings)
			for ; err == nil; _, err = client.Write(ping) {
				sent.Add(int64(len(ping)))
			}
		}()
		const reads = 20 // for less than two minutes: the connection is idle
		for n := range int64(reads) {
			time.Sleep(5 * time.Second)
			if _, err := io.ReadFull(client, make([]byte, 4<<10)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if unanswered := sent.Load() - (n+1)*(4<<10); unanswered > 2*maxUnread {
				t.Fatalf("%d bytes of pings wait for answers when %d times 4 KiB were read", unanswered, n+1)
			}
		}
		if n := sent.Load(); n < reads*(2<<10) {
			t.Errorf("only %d bytes of pings were taken", n)
		}
		client.Close()
		<-pinged
	})
}
