package live_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/internal/ingest"
	"github.com/millrace/millrace/internal/ingest/ingesttest"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/live"
	"github.com/millrace/millrace/internal/logs/logstest"
	"github.com/millrace/millrace/internal/media/mediatest"
	"github.com/millrace/millrace/internal/meter"
	"github.com/millrace/millrace/internal/store"
)

// A world is a node in virtual time: a database, encoders in memory, and the Hub
// between them.
type world struct {
	*testing.T
	*live.Hub
	dsn       string // of the database
	channel   ivs.Channel
	key       string
	log       *logstest.Buffer
	ctx       context.Context // ends with the node
	running   *sync.WaitGroup // what belongs to the node
	heartbeat *sync.WaitGroup // the heartbeat, which stops with still
	still     context.CancelFunc
}

var here = store.Scope{Account: "123456789012", Region: "us-west-2"}

// bubble runs test in virtual time, with a channel of that type and those
// limits.
func bubble(t *testing.T, channelType string, limits live.Limits, test func(*world)) {
	t.Helper()
	for _, r := range []mediatest.Source{mediatest.Ordered, mediatest.Steady, mediatest.Other} {
		r.Frames(t) // ffmpeg's time is real
	}
	dsn := filepath.Join(t.TempDir(), "millrace.db")
	synctest.Test(t, func(t *testing.T) {
		db, err := store.Open(t.Context(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		w := &world{T: t, dsn: dsn, log: &logstest.Buffer{}, running: &sync.WaitGroup{}, heartbeat: &sync.WaitGroup{}}
		log := slog.New(slog.NewTextHandler(w.log, nil))
		w.Hub = &live.Hub{Store: db, Owner: "node", Log: log, Limits: limits, Linger: time.Second}
		w.channel, w.key = w.addChannel(channelType)
		var stop context.CancelFunc
		w.ctx, stop = context.WithCancel(t.Context())
		w.startHeartbeat()
		defer func() {
			stop()
			w.running.Wait()
			w.heartbeat.Wait()
			time.Sleep(2 * time.Second) // Linger
			if t.Failed() {
				t.Logf("log:\n%s", w.log)
			}
		}()
		time.Sleep(time.Second / 4) // virtual: the whole seconds that a test sends for never end when the heartbeat comes
		test(w)
	})
}

// startHeartbeat runs the heartbeat of the node until still is called, or the node ends.
func (w *world) startHeartbeat() {
	var ctx context.Context
	ctx, w.still = context.WithCancel(w.ctx)
	w.heartbeat.Go(func() { w.Hub.Run(ctx) }) // it returns none
}

func (w *world) addChannel(channelType string) (ivs.Channel, string) {
	c := ivs.NewChannel(here.Account, here.Region)
	c.Name, c.Type, c.InsecureIngest = "a", channelType, true
	k := ivs.NewStreamKey(here.Account, here.Region, c.ARN)
	if err := w.Store.CreateChannel(w.Context(), c, k); err != nil {
		w.Fatal(err)
	}
	return c, k.Value
}

// An encoder publishes a minute of frames over and over.
type encoder struct {
	ingesttest.Loop
	world *world
}

// dial starts to publish; query is behind the stream key.
func (w *world) dial(key, query string, r mediatest.Source) (*encoder, error) {
	w.Helper()
	values, err := url.ParseQuery(strings.TrimPrefix(query, "?"))
	if err != nil {
		w.Fatal(err)
	}
	return w.dialTo(w.Publish, ingest.Info{Protocol: "memory", StreamKey: key, Query: values}, r)
}

// dialTo starts to publish to one of the hub's handlers.
func (w *world) dialTo(handle func(context.Context, ingest.Source) error, info ingest.Info, r mediatest.Source) (*encoder, error) {
	e, err := ingesttest.Publish(w.ctx, w.running, handle, info)
	if err != nil {
		return nil, err
	}
	return &encoder{ingesttest.Loop{Encoder: e, Frames: r.Frames(w.T), Length: time.Minute}, w}, nil
}

func (w *world) publish(key, query string) *encoder {
	w.Helper()
	e, err := w.dial(key, query, mediatest.Ordered)
	if err != nil {
		w.Fatal(err)
	}
	e.announce("first encoder")
	return e
}

func (e *encoder) announce(name string) {
	e.Announce(ingest.Metadata{Encoder: name, VideoBitrate: 400e3, AudioBitrate: 64e3, FrameRate: 30})
}

func (e *encoder) mustSend(d time.Duration) {
	e.world.Helper()
	if err := e.Send(d); err != nil {
		e.world.Fatalf("publishing for %v: %v", d, err)
	}
}

func (e *encoder) leave() {
	e.world.Helper()
	if err := e.Close(); err != nil {
		e.world.Error(err)
	}
}

// refused requires that the encoder was refused for that.
func (w *world) refused(err error, why string) {
	w.Helper()
	var refusal *ingest.Refusal
	if !errors.As(err, &refusal) || !strings.Contains(refusal.Text, why) {
		w.Errorf("the encoder learns %v, want %q", err, why)
	}
}

// session is the channel's latest session.
func (w *world) session() ivs.StreamSession {
	w.Helper()
	s, err := w.Store.StreamSession(w.Context(), w.channel.ARN, "")
	if err != nil {
		w.Fatal(err)
	}
	return s
}

// events are the session's, oldest first, with the seconds since began and
// their code.
func (w *world) events(began time.Time) (list []string) {
	w.Helper()
	s := w.session()
	for i := len(s.TruncatedEvents) - 1; i >= 0; i-- {
		e := s.TruncatedEvents[i]
		line := fmt.Sprintf("%s %.0f", e.Name, e.EventTime.Sub(began).Seconds())
		if e.Code != "" {
			line += " " + e.Code
		}
		list = append(list, line)
	}
	return list
}

// figures are the rows of figures of the channel that have been written.
func (w *world) figures() (all []store.Metrics) {
	w.Helper()
	for _, period := range []int64{meter.Second, meter.Minute} {
		rows, err := w.Store.Metrics(w.Context(), w.channel.ARN, period, 0, math.MaxInt64)
		if err != nil {
			w.Fatal(err)
		}
		all = append(all, rows...)
	}
	return all
}

// health returns the health of the only live stream by ListStreams; "" without one.
func (w *world) health() string {
	w.Helper()
	list, _, err := w.Store.ListStreams(w.Context(), here, "", store.Page{Max: 2})
	if err != nil {
		w.Fatal(err)
	}
	if len(list) == 0 {
		return ""
	}
	return list[0].Health
}
