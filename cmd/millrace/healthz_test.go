package main

import (
	"net"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/live"
)

// /healthz fails where a restart would help: the RTMP port is gone, or accepts
// nothing. A port that closes connections because it is full is no reason.
func TestHealthzFails(t *testing.T) {
	for name, tt := range map[string]struct {
		listen func(t *testing.T, l net.Listener)
		status int
		why    string
	}{
		"gone":            {func(_ *testing.T, l net.Listener) { l.Close() }, 503, "refused"},
		"accepts nothing": {func(*testing.T, net.Listener) {}, 503, "no "},
		"full":            {closeAll, 200, "ok"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // a check takes 3 s
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
			tt.listen(t, l)
			var cfg config
			cfg.RTMP, cfg.RTMPS = l.Addr().String(), off
			web := httptest.NewServer(newProbes(cfg, nil, &live.Hub{}, nil, nil).health)
			t.Cleanup(web.Close)
			status, body := health(t, web.URL)
			if got := body.Checks["rtmp"]; status != tt.status || !strings.Contains(got, tt.why) || (body.Status == "ok") != (status == 200) {
				t.Errorf("/healthz = %d %v, want %d: %s", status, body, tt.status, tt.why)
			}
		})
	}
}

// closeAll closes each connection when it comes.
func closeAll(t *testing.T, l net.Listener) {
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	go func() {
		defer close(done)
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			nc.Close()
		}
	}()
}
