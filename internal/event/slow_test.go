package event_test

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/internal/event"
	"github.com/millrace/millrace/internal/store/storetest"
	"github.com/millrace/millrace/internal/wiretest"
)

// A follower that takes no byte is disconnected after 20 s. One that takes what was
// written between 10 and 20 s late gets the reason: it was too slow.
func TestSlowFollower(t *testing.T) {
	dsn := storetest.SQLite(t)
	for name, tt := range map[string]struct {
		pause time.Duration // before it reads what comes after the first comment
		ends  time.Duration
		says  string
	}{
		"no byte": {time.Minute, 20 * time.Second, ""},
		"late":    {12 * time.Second, 12 * time.Second, "too slow"},
		"in time": {9 * time.Second, 0, ""},
		"at once": {0, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				db := storetest.Open(t, dsn)
				h := &event.Handler{Store: db, Log: slog.New(slog.DiscardHandler)}
				left := make(chan time.Time, 1)
				server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if err := h.Stream(w, r, here); err != nil {
						t.Error(err)
					}
					left <- time.Now()
				})}
				conns := wiretest.Listen(&net.TCPAddr{})
				follower := conns.Dial(&net.TCPAddr{})
				served := make(chan struct{})
				go func() { defer close(served); _ = server.Serve(conns) }()
				defer func() {
					follower.Close()
					server.Close()
					<-served
				}()
				go func() {
					_, _ = io.WriteString(follower, "GET /events HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
				}() // shows below
				in := bufio.NewReaderSize(follower, 16)
				for line := ""; !strings.Contains(line, "millrace events"); {
					var err error
					if line, err = in.ReadString('\n'); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(14 * time.Second) // a comment comes 15 s after the last
				began := time.Now().Add(time.Second)
				time.Sleep(time.Second + tt.pause)
				if tt.ends == 0 {
					go func() { _, _ = io.Copy(io.Discard, in) }() // until the end
					time.Sleep(time.Minute)
					select {
					case at := <-left:
						t.Errorf("a follower who reads was disconnected after %v", at.Sub(began))
					default:
					}
					return
				}
				text, _ := io.ReadAll(in) // what was written before it was disconnected
				if !strings.Contains(string(text), tt.says) {
					t.Errorf("the follower was told %q", text)
				}
				if d := (<-left).Sub(began).Round(time.Second); d < tt.ends || d > tt.ends+2*time.Second {
					t.Errorf("the follower was disconnected after %v, want %v", d, tt.ends)
				}
			})
		})
	}
}
