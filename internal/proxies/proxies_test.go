package proxies_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pires/go-proxyproto"

	"github.com/millrace/millrace/internal/proxies"
	"github.com/millrace/millrace/internal/wiretest"
)

func parse(t testing.TB, list ...string) proxies.Trusted {
	t.Helper()
	p, err := proxies.Parse(list)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestParse(t *testing.T) {
	p := parse(t, "10.0.0.0/8", "192.0.2.1", "2001:db8::/32", "::ffff:172.16.0.0/108")
	for ip, want := range map[string]bool{"10.1.2.3": true, "::ffff:10.1.2.3": true, "11.0.0.1": false, "192.0.2.1": true, "192.0.2.2": false,
		"2001:db8::1": true, "2001:db9::1": false, "172.17.0.1": true, "172.32.0.1": false} {
		if got := p.Has(netip.MustParseAddr(ip)); got != want {
			t.Errorf("%s: %v", ip, got)
		}
	}
	for _, bad := range []string{"", "10.0.0.0/33", "example.com", "10.0.0.0/8/8"} {
		if _, err := proxies.Parse([]string{bad}); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// A header counts if a trusted proxy wrote it, and as far as one did.
func TestForwarded(t *testing.T) {
	p := parse(t, "10.0.0.0/8")
	var seen string
	h := p.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r.RemoteAddr }))
	for _, tt := range []struct {
		name, peer string
		header     http.Header
		want       string // "" means refused
	}{
		{"nobody's", "203.0.113.9:1", http.Header{"X-Forwarded-For": {"198.51.100.1"}}, "203.0.113.9:1"},
		{"no header", "10.0.0.1:1", nil, "10.0.0.1:1"},
		{"one", "10.0.0.1:1", http.Header{"X-Forwarded-For": {"198.51.100.1"}}, "198.51.100.1:0"},
		{"with a port", "10.0.0.1:1", http.Header{"X-Forwarded-For": {"198.51.100.1:4711"}}, "198.51.100.1:0"},
		{"IPv6", "10.0.0.1:1", http.Header{"X-Forwarded-For": {"2001:db8::1"}}, "[2001:db8::1]:0"},
		{"IPv6 with a port", "10.0.0.1:1", http.Header{"X-Forwarded-For": {"[2001:db8::1]:5"}}, "[2001:db8::1]:0"},
		{"what the client wrote before", "10.0.0.1:1", http.Header{"X-Forwarded-For": {"192.0.2.66, 198.51.100.1"}}, "198.51.100.1:0"},
		{"in a header of its own", "10.0.0.1:1", http.Header{"X-Forwarded-For": {"192.0.2.66", "198.51.100.1"}}, "198.51.100.1:0"},
		{"through two proxies", "10.0.0.1:1", http.Header{"X-Forwarded-For": {"192.0.2.66, 198.51.100.1, 10.9.9.9"}}, "198.51.100.1:0"},
		{"from inside", "10.0.0.1:1", http.Header{"X-Forwarded-For": {"10.5.5.5, 10.9.9.9"}}, "10.5.5.5:0"},
		{"unknown", "10.0.0.1:1", http.Header{"X-Forwarded-For": {"unknown"}}, "10.0.0.1:1"},
		{"unknown to the second", "10.0.0.1:1", http.Header{"X-Forwarded-For": {"192.0.2.66, unknown, 10.9.9.9"}}, "10.9.9.9:0"},
		{"Forwarded", "10.0.0.1:1", http.Header{"Forwarded": {`for=192.0.2.66, For="[2001:db8::1]:4711";proto=https;by=10.0.0.1`}}, "[2001:db8::1]:0"},
		{"Forwarded, hidden", "10.0.0.1:1", http.Header{"Forwarded": {"for=_hidden"}}, "10.0.0.1:1"},
		{"both alike", "10.0.0.1:1", http.Header{"Forwarded": {"for=198.51.100.1"}, "X-Forwarded-For": {"198.51.100.1"}}, "198.51.100.1:0"},
		{"both, one of the client's", "10.0.0.1:1", http.Header{"Forwarded": {"for=192.0.2.66"}, "X-Forwarded-For": {"198.51.100.1"}}, ""},
		{"both, one unreadable", "10.0.0.1:1", http.Header{"Forwarded": {"for=unknown"}, "X-Forwarded-For": {"198.51.100.1"}}, ""},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr, seen = tt.peer, ""
		for name, values := range tt.header {
			r.Header[name] = values
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if seen != tt.want || (w.Code == http.StatusBadRequest) != (tt.want == "") {
			t.Errorf("%s: %q, %d; want %q", tt.name, seen, w.Code, tt.want)
		}
		if r.RemoteAddr != tt.peer {
			t.Errorf("%s: the request itself was changed", tt.name)
		}
	}
}

// listen opens a listener behind which p is trusted.
func listen(t *testing.T, p proxies.Trusted) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l = p.Listener(l)
	t.Cleanup(func() { l.Close() })
	return l
}

func dial(t *testing.T, l net.Listener) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// Connections of a trusted proxy have the address of its client, and what comes
// after the header comes whole; those of others are left as they are.
func TestProxyProtocol(t *testing.T) {
	client := &net.TCPAddr{IP: net.IPv4(198, 51, 100, 7), Port: 4711}
	for _, tt := range []struct {
		name    string
		trusted string
		version byte // 0: no header
		want    string
	}{
		{"v1", "127.0.0.0/8", 1, "198.51.100.7:4711"},
		{"v2", "127.0.0.0/8", 2, "198.51.100.7:4711"},
		{"no header", "127.0.0.0/8", 0, ""},
		{"not trusted", "10.0.0.0/8", 1, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := listen(t, parse(t, tt.trusted))
			silent := dial(t, l) // delays no other connection
			c := dial(t, l)
			text := "POST / HTTP/1.1\r\n"
			if tt.version > 0 {
				header := proxyproto.HeaderProxyFromAddrs(tt.version, client, l.Addr())
				b, err := header.Format()
				if err != nil {
					t.Fatal(err)
				}
				text = string(b) + text
			}
			if _, err := io.WriteString(c, text); err != nil {
				t.Fatal(err)
			}
			var conn net.Conn
			for conn == nil {
				got, err := l.Accept()
				if err != nil {
					t.Fatal(err)
				}
				defer got.Close()
				if got.RemoteAddr().String() != silent.LocalAddr().String() {
					conn = got
				}
			}
			want, wantText := tt.want, "POST / HTTP/1.1\r\n"
			if want == "" {
				want = c.LocalAddr().String()
			}
			if tt.name == "not trusted" {
				wantText = text
			}
			b := make([]byte, len(wantText))
			if _, err := io.ReadFull(conn, b); err != nil || string(b) != wantText || conn.RemoteAddr().String() != want {
				t.Errorf("%v sent %q, %v; want %s, %q", conn.RemoteAddr(), b, err, want, wantText)
			}
		})
	}
}

// A header that is none fails its connection alone, and closing ends all waits.
func TestProxyProtocolErrors(t *testing.T) {
	l := listen(t, parse(t, "127.0.0.0/8"))
	bad := dial(t, l)
	if _, err := io.WriteString(bad, "PROXY TCP4 nonsense\r\nGET / HTTP/1.1\r\n"); err != nil {
		t.Fatal(err)
	}
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 10)); err == nil {
		t.Errorf("%d bytes were read after a wrong header", n)
	}
	for range 10 {
		dial(t, l) // and say nothing
	}
	began := time.Now()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Close: %v", err)
	}
	t.Log("closed after", time.Since(began))
}

func FuzzForwarded(f *testing.F) {
	p := parse(f, "10.0.0.0/8")
	h := p.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, _, err := net.SplitHostPort(r.RemoteAddr); err != nil {
			panic(fmt.Sprintf("%q: %v", r.RemoteAddr, err))
		}
	}))
	f.Add("1.2.3.4, 10.0.0.1", "")
	f.Add("", `for="[::1]:5";by=x, for=_a`)
	f.Fuzz(func(t *testing.T, plain, standard string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = "10.0.0.1:1"
		r.Header.Set("X-Forwarded-For", plain)
		r.Header.Set("Forwarded", standard)
		h.ServeHTTP(httptest.NewRecorder(), r)
	})
}

var (
	proxy  net.Addr = &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 4711}
	server net.Addr = &net.TCPAddr{IP: net.IPv4(10, 0, 0, 9), Port: 1935}
)

// No more than 1,024 connections of proxies wait for their headers; each has 5 s.
func TestHeadersThatDoNotCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := wiretest.Listen(server)
		l := parse(t, "10.0.0.0/8").Listener(inner)
		var accepted atomic.Int32
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				defer c.Close()
				accepted.Add(1)
			}
		}()
		isClosed := func(client net.Conn) bool {
			client.SetReadDeadline(time.Now()) // a pipe that is open is not done before that
			_, err := client.Read(make([]byte, 1))
			return errors.Is(err, io.EOF)
		}
		dial := func() net.Conn {
			client := inner.Dial(proxy)
			synctest.Wait()
			return client
		}
		for n := range 1024 {
			if c := dial(); isClosed(c) {
				t.Fatalf("connection %d is closed", n)
			}
		}
		if c := dial(); !isClosed(c) || accepted.Load() != 0 {
			t.Errorf("one more is not closed, or %d are accepted without a header", accepted.Load())
		}
		time.Sleep(5*time.Second + time.Millisecond)
		if c := dial(); isClosed(c) || accepted.Load() != 1024 {
			t.Errorf("after 5 s another one is closed, or %d are accepted without a header", accepted.Load())
		}
		l.Close()
		<-ended
	})
}

// Whatever a trusted proxy sends first, its connection has a client with an IP
// address and loses nothing but a header, or it cannot be read.
func FuzzProxyHeader(f *testing.F) {
	trusted := parse(f, "10.0.0.0/8")
	const request = "GET / HTTP/1.1\r\n"
	for _, client := range []net.Addr{&net.TCPAddr{IP: net.IPv4(198, 51, 100, 7), Port: 4711}, &net.TCPAddr{IP: net.ParseIP("2001:db8::7"), Port: 1}} {
		for version := range byte(2) {
			header, err := proxyproto.HeaderProxyFromAddrs(version+1, client, client).Format()
			if err != nil {
				f.Fatal(err)
			}
			f.Add(append(header, request...))
		}
	}
	f.Add([]byte(request))
	f.Fuzz(func(t *testing.T, sent []byte) {
		inner := wiretest.Listen(server)
		client := inner.Dial(proxy)
		l := trusted.Listener(inner)
		go func() {
			client.Write(sent) // a wrong header is not read to its end
			client.Close()
		}()
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if _, err := netip.ParseAddrPort(conn.RemoteAddr().String()); err != nil {
			t.Errorf("the client is at %v", conn.RemoteAddr())
		}
		got, err := io.ReadAll(conn)
		conn.Close()
		plain := conn.RemoteAddr().String() == proxy.String()
		if !bytes.HasSuffix(sent, got) || err == nil && plain && !bytes.HasPrefix(sent, []byte("PROXY ")) && !bytes.HasPrefix(sent, []byte("\r\n\r\n")) && len(got) != len(sent) {
			t.Errorf("of %q from %v came %q, %v", sent, conn.RemoteAddr(), got, err)
		}
	})
}

// An IPv4 address is one client, however it is written, and so is a /64 of IPv6.
func TestClientOf(t *testing.T) {
	for _, same := range [][]string{
		{"192.0.2.1:80", "192.0.2.1:81", "192.0.2.1", "[::ffff:192.0.2.1]:80"},
		{"192.0.2.2:80"},
		{"[2001:db8::1]:80", "[2001:db8::ffff:0:0:2%eth0]:80", "2001:db8::3"},
		{"[2001:db8:0:1::1]:80"},
		{"[fe80::1%lo]:1", "[fe80::2]:1"},
		{"", "@", "pipe", "example.com:80"},
	} {
		for _, remote := range same {
			if got, want := proxies.ClientOf(remote), proxies.ClientOf(same[0]); got != want {
				t.Errorf("ClientOf(%q) = %v, want %v as of %q", remote, got, want, same[0])
			}
		}
	}
	for _, pair := range [][2]string{{"192.0.2.1:80", "192.0.2.2:80"}, {"[2001:db8::1]:80", "[2001:db8:0:1::1]:80"}, {"192.0.2.1:80", ""}} {
		if proxies.ClientOf(pair[0]) == proxies.ClientOf(pair[1]) {
			t.Errorf("%q and %q are one client", pair[0], pair[1])
		}
	}
}
