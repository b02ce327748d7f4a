package reqbody_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/internal/reqbody"
	"github.com/millrace/millrace/internal/wiretest"
)

var limits = reqbody.Limits{Bytes: 8, Total: 5, PerAddress: 2}

func request(remote string, body io.Reader) *http.Request {
	r := httptest.NewRequest("POST", "/", body)
	r.RemoteAddr = remote
	return r
}

func TestBytes(t *testing.T) {
	for text, want := range map[string]error{"": nil, "12345678": nil, "123456789": reqbody.ErrTooLarge} {
		for name, body := range map[string]io.Reader{"known length": strings.NewReader(text), "unknown length": io.MultiReader(strings.NewReader(text))} {
			var v reqbody.Receiver
			got, err := v.Read(httptest.NewRecorder(), request("192.0.2.1:1", body), limits)
			if !errors.Is(err, want) || err == nil && string(got) != text {
				t.Errorf("%q of %s: %q, %v; want %v", text, name, got, err, want)
			}
		}
	}
	var v reqbody.Receiver
	if _, err := v.Read(httptest.NewRecorder(), request("192.0.2.1:1", iotest{}), limits); !errors.Is(err, reqbody.ErrIncomplete) {
		t.Errorf("a body that ends early: %v", err)
	}
}

type iotest struct{}

func (iotest) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// What a client has on the way counts against itself first, and is given back.
func TestShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var v reqbody.Receiver
		begin := func(remote string) (end func()) {
			body, feed := io.Pipe()
			go v.Read(httptest.NewRecorder(), request(remote, body), limits)
			synctest.Wait()
			return func() {
				feed.Close()
				synctest.Wait()
			}
		}
		try := func(remote string, want error) {
			t.Helper()
			if _, err := v.Read(httptest.NewRecorder(), request(remote, strings.NewReader("x")), limits); !errors.Is(err, want) {
				t.Errorf("a body of %s: %v, want %v", remote, err, want)
			}
		}
		one, two := begin("192.0.2.1:1"), begin("[::ffff:192.0.2.1]:2")
		try("192.0.2.1:3", reqbody.ErrBusy)
		try("[2001:db8::1]:1", nil)
		three, five, six := begin("[2001:db8::1]:1"), begin("192.0.2.5:1"), begin("192.0.2.6:1")
		try("192.0.2.2:1", reqbody.ErrBusy) // of all
		one()
		five()
		try("[2001:db8:0:0:1::2]:1", nil)
		four := begin("[2001:db8:0:0:1::2]:1")
		two()
		try("[2001:db8::3]:1", reqbody.ErrBusy) // of the same /64
		try("@", nil)
		three()
		four()
		six()
		try("192.0.2.1:1", nil)
	})
}

// A few clients with their shares leave room for others.
func TestSharesOfMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var v reqbody.Receiver
		l := reqbody.Limits{Bytes: 8, Total: 64, PerAddress: 16}
		var feeds []io.Closer
		receiving := func(remote string) int {
			n := 0
			for ; ; n++ {
				body, feed := io.Pipe()
				refused := make(chan error, 1)
				go func() { _, err := v.Read(httptest.NewRecorder(), request(remote, body), l); refused <- err }()
				synctest.Wait()
				select {
				case err := <-refused:
					if !errors.Is(err, reqbody.ErrBusy) {
						t.Error(err)
					}
					return n
				default:
					feeds = append(feeds, feed)
				}
			}
		}
		taken := 0
		for i := range 4 {
			taken += receiving(fmt.Sprintf("[2001:db8:0:%d::1]:1", i))
		}
		if taken < 50 || taken > 58 {
			t.Errorf("four clients have %d of 64 bodies", taken)
		}
		for i := range 5 {
			if receiving(fmt.Sprintf("192.0.2.%d:1", i)) == 0 {
				t.Errorf("client %d more has no body", i+1)
			}
		}
		for _, feed := range feeds {
			feed.Close()
		}
		synctest.Wait()
	})
}

// A client that says what it will send, and does not, keeps its place for
// Timeout; a body that has arrived leaves no deadline behind.
func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var v reqbody.Receiver
		errs := make(chan error, 1)
		released := make(chan struct{})
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, err := v.Read(w, r, limits)
			errs <- err
			if err == nil {
				<-released
				if r.Context().Err() != nil {
					t.Error("the request was cancelled after its body had been received")
				}
			}
		})}
		l := wiretest.Listen(&net.TCPAddr{})
		go server.Serve(l)
		slow := l.Dial(&net.TCPAddr{})
		io.WriteString(slow, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n1")
		if err := <-errs; !errors.Is(err, reqbody.ErrIncomplete) {
			t.Errorf("half a body: %v", err)
		}
		slow.Close()
		quick := l.Dial(&net.TCPAddr{})
		io.WriteString(quick, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n12")
		if err := <-errs; err != nil {
			t.Error(err)
		}
		time.Sleep(2 * reqbody.Timeout)
		close(released)
		synctest.Wait()
		quick.Close()
		server.Close()
	})
}
