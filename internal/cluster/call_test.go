package cluster

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
)

// A node that does not answer pings is given up 4 s after its last frame, and so are all
// requests to it; one that answers them may take its time.
func TestPings(t *testing.T) {
	for name, tt := range map[string]struct {
		answers bool
		lasts   time.Duration
	}{
		"no answer": {false, pingAfter + pingTimeout},
		"answers":   {true, time.Minute}, // until the caller gives up
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				client := newClient()
				client.Transport.(*http.Transport).DialContext = func(context.Context, string, string) (net.Conn, error) { return ours, nil }
				done := make(chan struct{})
				go func() {
					defer close(done)
					io.ReadFull(theirs, make([]byte, len(http2.ClientPreface)))
					peer, pongs := http2.NewFramer(theirs, theirs), make(chan [8]byte, 10)
					defer close(pongs)
					go func() {
						peer.WriteSettings()
						for data := range pongs {
							peer.WritePing(true, data)
						}
					}()
					for {
						f, err := peer.ReadFrame()
						if err != nil {
							return
						}
						if ping, ok := f.(*http2.PingFrame); ok && tt.answers && !ping.IsAck() {
							pongs <- ping.Data
						}
					}
				}()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://192.0.2.1/", nil)
				must(t, err)
				began := time.Now()
				if res, err := client.Do(r); err == nil {
					res.Body.Close()
					t.Error("there is an answer")
				}
				if lasted := time.Since(began); lasted != tt.lasts {
					t.Errorf("it was given up after %v, want %v", lasted, tt.lasts)
				}
				client.CloseIdleConnections()
				theirs.Close()
				<-done
			})
		})
	}
}
