package live

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/internal/flv"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/media/mediatest"
	"github.com/millrace/millrace/internal/rtmp"
	"github.com/millrace/millrace/internal/store"
)

// An arrival is a frame with the encoder's times, and when it comes.
type arrival struct {
	frame media.Frame
	at    time.Duration // since the first one
}

var (
	steady  = minute(mediatest.Source{BFrames: 2, Size: "160x120"})
	ordered = minute(mediatest.Source{Size: "160x120"}) // no B-frames: in the order of display
	other   = minute(mediatest.Source{BFrames: 2, Size: "176x144", SampleRate: 44100})
)

func minute(s mediatest.Source) mediatest.Source {
	s.Seconds = 60
	return s
}

// arrivals are the frames of a test broadcast: its clock starts at zero, and
// each comes when that says so.
func arrivals(t testing.TB, s mediatest.Source) (all []arrival) {
	t.Helper()
	for _, f := range s.Frames(t) {
		all = append(all, arrival{f, f.DTS})
	}
	return all
}

// A world is a node in virtual time: a database, an ingest server whose
// connections are pipes, and the Hub between them.
type world struct {
	*testing.T
	*Hub
	pipes   pipeListener
	channel ivs.Channel
	key     string
	log     *lines
}

var here = store.Scope{Account: "123456789012", Region: "us-west-2"}

// bubble runs test in virtual time, with a channel of that type and those
// limits.
func bubble(t *testing.T, channelType string, limits Limits, test func(*world)) {
	t.Helper()
	for _, r := range []mediatest.Source{ordered, steady, other} {
		arrivals(t, r) // ffmpeg's time is real
	}
	dsn := filepath.Join(t.TempDir(), "millrace.db")
	synctest.Test(t, func(t *testing.T) {
		db, err := store.Open(t.Context(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		w := &world{T: t, log: &lines{}, pipes: pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}}
		log := slog.New(slog.NewTextHandler(w.log, nil))
		w.Hub = &Hub{Store: db, Owner: "node", Log: log, Limits: limits, Linger: time.Second}
		w.channel, w.key = w.addChannel(channelType)
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { w.Hub.Run(ctx) })
		running.Go(func() {
			(&rtmp.Server{Handle: func(ctx context.Context, p *rtmp.Publisher) error { return w.Publish(ctx, p) }, Log: log}).Serve(ctx, &w.pipes)
		})
		defer func() {
			stop()
			running.Wait()
			time.Sleep(2 * time.Second) // Linger
			if t.Failed() {
				t.Logf("log:\n%s", w.log)
			}
		}()
		time.Sleep(beat / 4) // virtual: the whole seconds that a test sends for never end when the heartbeat comes
		test(w)
	})
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

// An encoder publishes a tape over and over, in time.
type encoder struct {
	world  *world
	client *rtmp.Client
	conn   net.Conn
	tape   []arrival
	at     time.Duration // of the tape, that was sent
}

// dial begins to publish; query is behind the stream key.
func (w *world) dial(key, query string, r mediatest.Source) (*encoder, error) {
	w.Helper()
	near, far := net.Pipe()
	select {
	case w.pipes.conns <- far:
	case <-w.Context().Done():
		return nil, context.Cause(w.Context())
	}
	c, err := rtmp.NewClient(w.Context(), near, "rtmp://h/app/"+key+query)
	if err != nil {
		return nil, err
	}
	return &encoder{world: w, client: c, conn: near, tape: arrivals(w.T, r)}, nil
}

func (w *world) publish(key, query string) *encoder {
	w.Helper()
	e, err := w.dial(key, query, ordered)
	if err != nil {
		w.Fatal(err)
	}
	e.announce("first encoder")
	return e
}

func (e *encoder) announce(name string) {
	e.world.Helper()
	err := e.client.WriteMetadata(flv.Metadata{Encoder: name, VideoDataRate: 400e3, AudioDataRate: 64e3, FrameRate: 30})
	if err != nil {
		e.world.Fatal(err)
	}
}

// send publishes for some time. The error is the server's.
func (e *encoder) send(d time.Duration) error {
	const length = 60 * time.Second
	start, begin := time.Now(), e.at
	for ; e.at < begin+d; e.at += length - e.at%length {
		turn := e.at - e.at%length
		for _, a := range e.tape {
			at := turn + a.at
			if at < e.at {
				continue
			}
			if at >= begin+d {
				e.at = begin + d
				break
			}
			time.Sleep(at - begin - time.Since(start))
			f := a.frame
			f.DTS, f.PTS = f.DTS+turn, f.PTS+turn
			if err := e.client.WriteFrame(f); err != nil {
				return err
			}
		}
		if e.at == begin+d {
			break
		}
	}
	time.Sleep(d - time.Since(start))
	return nil
}

func (e *encoder) mustSend(d time.Duration) {
	e.world.Helper()
	if err := e.send(d); err != nil {
		e.world.Fatalf("publishing for %v: %v", d, err)
	}
}

func (e *encoder) leave() {
	e.world.Helper()
	if err := e.client.Close(); err != nil {
		e.world.Error(err)
	}
}

// refused requires that the server said so.
func (w *world) refused(err error, why string) {
	w.Helper()
	var status *rtmp.StatusError
	if !errors.As(err, &status) || !strings.Contains(status.Description, why) {
		w.Errorf("the encoder heard %v, want %q", err, why)
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

// health is what ListStreams shows of the only live stream; "" without one.
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

// A pipeListener hands out connections in memory.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// lines are a log.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
