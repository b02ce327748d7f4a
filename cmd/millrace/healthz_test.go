package main

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/internal/live"
)

// /healthz and /readyz fail where the RTMP port is gone, or accepts nothing. A port that
// closes connections because it is full is no reason, for a restart nor to send viewers
// elsewhere.
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
			probes := newProbes(cfg, nil, (&live.Hub{}).Counts, nil, nil, nil)
			web := httptest.NewServer(probes.health)
			t.Cleanup(web.Close)
			status, body := health(t, web.URL)
			if got := body.Checks["rtmp"]; status != tt.status || !strings.Contains(got, tt.why) || (body.Status == "ok") != (status == 200) {
				t.Errorf("/healthz = %d %v, want %d: %s", status, body, tt.status, tt.why)
			}
			for _, c := range probes.ready.checks { // viewers are sent here still
				if c.name != "rtmp" {
					continue
				}
				if err := c.look(t.Context()); (err == nil) != (tt.status == 200) {
					t.Errorf("the check rtmp of /readyz: %v", err)
				}
			}
		})
	}
}

// /healthz fails when the lock of the live streams is stuck, within 3 s each time,
// and is well again when it is free. However many ask, one waits for the lock.
func TestHealthzOfStuckStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cfg config
		cfg.RTMP, cfg.RTMPS = off, off
		var waiting atomic.Int32
		free := make(chan struct{})
		probe := newProbes(cfg, nil, func() (streams, viewers int) {
			waiting.Add(1)
			defer waiting.Add(-1)
			<-free
			return 0, 0
		}, nil, nil, nil).health
		ask := func() *httptest.ResponseRecorder {
			w := httptest.NewRecorder()
			probe.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/healthz", nil))
			return w
		}
		began := time.Now()
		var asked sync.WaitGroup
		for range 20 {
			asked.Go(func() {
				if w := ask(); w.Code != 503 || !strings.Contains(w.Body.String(), `"streams":"no answer for `) {
					t.Errorf("/healthz = %d %s", w.Code, w.Body)
				}
			})
			time.Sleep(time.Second)
		}
		asked.Wait()
		if d, n := time.Since(began), waiting.Load(); d != 22*time.Second || n != 1 {
			t.Errorf("20 answers, a second apart, took %v, and %d wait for the lock", d, n)
		}
		close(free)
		synctest.Wait()
		time.Sleep(time.Second)
		if w := ask(); w.Code != 200 {
			t.Errorf("when the lock is free again /healthz = %d %s", w.Code, w.Body)
		}
	})
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

// A stream whose lock is stuck, or a heartbeat that is, fails /readyz and not
// /healthz: a restart would cut the streams that play.
func TestReadyzOfStuckStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cfg config
		cfg.RTMP, cfg.RTMPS, cfg.Data = off, off, t.TempDir()
		free := make(chan struct{})
		for why, stalled := range map[string]func() error{
			"no answer for 3s":      func() error { <-free; return nil },
			"heartbeats of streams": func() error { return errors.New("heartbeats of streams are stuck") },
			"":                      func() error { return nil },
		} {
			probes := newProbes(cfg, nil, (&live.Hub{}).Counts, stalled, nil, nil)
			ready := probes.ready
			ready.checks = slices.DeleteFunc(ready.checks, func(c *check) bool { return c.name != "media" }) // the others need a server
			w := httptest.NewRecorder()
			ready.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/readyz", nil))
			if (w.Code == 200) != (why == "") || !strings.Contains(w.Body.String(), `"media":"`+cmp.Or(why, "ok")) {
				t.Errorf("/readyz = %d %s, want %q", w.Code, w.Body, why)
			}
			w = httptest.NewRecorder()
			if probes.health.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/healthz", nil)); w.Code != 200 {
				t.Errorf("/healthz = %d %s", w.Code, w.Body)
			}
		}
		close(free)
	})
}

// What the checks use may be closed when they are stopped. One that is stuck holds that
// up for healthTime, and none begins afterwards.
func TestProbesStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free := make(chan struct{})
		var runs atomic.Int32
		obeys := &check{name: "obeys", run: func(ctx context.Context) error { runs.Add(1); <-ctx.Done(); return ctx.Err() }}
		stuck := &check{name: "stuck", run: func(context.Context) error { <-free; return nil }}
		done := obeys.current()
		stuck.current()
		began := time.Now()
		probes{ready: healthReport{[]*check{obeys, stuck}}}.stop()
		if d := time.Since(began); d != healthTime {
			t.Errorf("stopping took %v, want %v", d, healthTime)
		}
		select {
		case <-done:
		default:
			t.Error("a check that obeys its context is running")
		}
		time.Sleep(2 * healthAge)
		if obeys.current(); runs.Load() != 1 {
			t.Error("a check has begun after the end")
		}
		close(free)
	})
}
