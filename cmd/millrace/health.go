package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/logs"
	"github.com/millrace/millrace/internal/store"
)

const (
	healthAge  = time.Second     // how long results are cached
	healthTime = 3 * time.Second // for one check
)

// A check is one thing that the server needs. run may block for longer than its
// context allows: no second one is started meanwhile.
type check struct {
	name string
	run  func(context.Context) error

	mu      sync.Mutex
	since   time.Time          // guarded by mu; when the last run began
	cancel  context.CancelFunc // guarded by mu; ends the last run; nil before the first
	done    chan struct{}      // guarded by mu; closed when the last run has ended, nil before the first
	result  error              // guarded by mu; valid when done is closed
	stopped bool               // guarded by mu; no run is begun any more
}

// look returns a result that is at most healthAge old, and waits for it, at most for
// healthTime.
func (c *check) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, healthTime)
	defer cancel()
	select {
	case <-c.current():
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.done:
		return c.result
	default:
		return fmt.Errorf("no answer for %v", time.Since(c.since).Round(100*time.Millisecond))
	}
}

// current is closed when the run that is in progress, or a recent one, has
// ended. It starts one if there is none.
func (c *check) current() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return c.done
	}
	if c.done != nil {
		select {
		case <-c.done:
		default:
			return c.done
		}
		if time.Since(c.since) < healthAge {
			return c.done
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), healthTime)
	c.since, c.cancel, c.done = time.Now(), cancel, make(chan struct{})
	go c.once(ctx, c.done)
	return c.done
}

// once runs the check. Nobody waits for longer than healthTime: a disk that does
// not answer holds one goroutine.
func (c *check) once(ctx context.Context, done chan struct{}) {
	err := c.run(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.result = err
	c.cancel()
	close(done)
}

// stop ends the run in progress, if there is one, and waits for it, but for no longer
// than healthTime: a disk that does not answer would keep the server from ending.
func (c *check) stop() {
	c.mu.Lock()
	c.stopped = true
	done := c.done
	if done != nil {
		c.cancel()
	}
	c.mu.Unlock()
	if done == nil {
		return
	}
	select {
	case <-done:
	case <-time.After(healthTime):
	}
}

// A healthReport responds with the results of its checks: 200 if all pass, otherwise 503.
type healthReport struct {
	checks []*check
}

// ServeHTTP runs the checks side by side.
func (h healthReport) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	results := make([]error, len(h.checks))
	var all sync.WaitGroup
	for i, c := range h.checks {
		all.Go(func() { results[i] = c.look(r.Context()) })
	}
	all.Wait()
	status, body := http.StatusOK, healthBody{Status: "ok", Checks: map[string]string{}}
	for i, c := range h.checks {
		body.Checks[c.name] = "ok"
		if results[i] != nil {
			status, body.Status, body.Checks[c.name] = http.StatusServiceUnavailable, "failing", results[i].Error()
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client may have left
}

// healthBody is the response of /healthz, /readyz and /readyz/playback.
type healthBody struct {
	Status string            `json:"status"` // ok or failing
	Checks map[string]string `json:"checks"` // ok, or the error
}

// writeProbe writes a file into folder, onto the disk, and removes it.
func writeProbe(folder string) error {
	f, err := os.OpenFile(filepath.Join(folder, "probe"), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // the next probe overwrites it
	_, err = f.Write(make([]byte, 16<<10))
	return errors.Join(err, f.Sync(), f.Close())
}

// dialProbe connects to a listening address of this process and greets it. The
// error is errFull where the listener closes the connection.
func dialProbe(ctx context.Context, address string, greet func(net.Conn) error) error {
	nc, err := (&net.Dialer{}).DialContext(ctx, "tcp", reachable(address))
	if err != nil {
		return err
	}
	defer nc.Close()
	if by, ok := ctx.Deadline(); ok {
		if err := nc.SetDeadline(by); err != nil {
			return err
		}
	}
	if err := greet(nc); err != nil {
		var slow net.Error
		if errors.As(err, &slow) && slow.Timeout() {
			return fmt.Errorf("%s accepts no connection: %w", address, err)
		}
		return fmt.Errorf("%s: %w", address, errFull)
	}
	return nil
}

// greetRTMP sends C0 and C1 and waits for S0 (Adobe RTMP, section 5.2).
func greetRTMP(nc net.Conn) error {
	if _, err := nc.Write(append([]byte{3}, make([]byte, 1536)...)); err != nil {
		return err
	}
	_, err := io.ReadFull(nc, make([]byte, 1))
	return err
}

func greetTLS(nc net.Conn) error {
	return tls.Client(nc, &tls.Config{InsecureSkipVerify: true}).Handshake() // it is the listener of this process
}

// errFull fails no check: a restart would only disconnect clients, and a load balancer
// that sends no new encoders would send no viewers either.
var errFull = errors.New("new connections are closed immediately: the limit on connections is reached")

// unlessFull returns err, or nil if it is errFull.
func unlessFull(err error) error {
	if errors.Is(err, errFull) {
		return nil
	}
	return err
}

// probes are the checks of /healthz, /readyz and /readyz/playback. A failing /healthz has
// the process killed, which ends every stream: it checks only what a restart would repair.
// A failing /readyz/playback sends viewers to other nodes: it checks only what playback
// needs, which is neither the database nor the disk, which all nodes may lose at once.
type probes struct{ health, ready, playback healthReport }

// stop ends all checks. The database may be closed then.
func (p probes) stop() {
	var all sync.WaitGroup
	for _, c := range slices.Concat(p.health.checks, p.ready.checks) {
		all.Go(c.stop)
	}
	all.Wait()
}

// newProbes makes them. counts is the hub's, which takes the lock that every stream
// needs, and stalled its Stalled: where the lock of one stream or the heartbeat is
// stuck, the other streams play, and a restart would cut them.
func newProbes(cfg config, db *store.DB, counts func() (streams, viewers int), stalled func() error, log *logs.Writer, draining <-chan struct{}) probes {
	listens := func(name, address string, greet func(net.Conn) error) *check {
		return &check{name: name, run: func(ctx context.Context) error {
			if address == off {
				return nil
			}
			return unlessFull(dialProbe(ctx, address, greet))
		}}
	}
	rtmp, rtmps := listens("rtmp", cfg.RTMP, greetRTMP), listens("rtmps", cfg.RTMPS, greetTLS)
	streams := &check{name: "streams", run: func(context.Context) error { counts(); return nil }}
	media := &check{name: "media", run: func(context.Context) error { return stalled() }}
	stays := &check{name: "draining", run: func(context.Context) error {
		select {
		case <-draining:
			return errors.New("the server is stopping, or draining: it takes no new encoders")
		default:
			return nil
		}
	}}
	ready := []*check{
		{name: "database", run: db.ProbeWrite},
		{name: "disk", run: func(context.Context) error { return writeProbe(cfg.Data) }},
		rtmp, rtmps, streams, media,
		{name: "log", run: func(context.Context) error { return log.Err() }},
		stays,
	}
	return probes{
		health:   healthReport{[]*check{rtmp, rtmps, streams}},
		ready:    healthReport{ready},
		playback: healthReport{[]*check{streams, media, stays}},
	}
}
