package live

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/flv"
	"github.com/millrace/millrace/internal/hls/hlscheck"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/media/mediatest"
	"github.com/millrace/millrace/internal/rtmp"
)

// An arrival is a frame with the encoder's times, and when it comes.
type arrival struct {
	frame media.Frame
	at    time.Duration // since the first one
}

var (
	steady  = minute(mediatest.Source{BFrames: 2, Size: "160x120"})
	ordered = minute(mediatest.Source{Size: "160x120"}) // no B-frames: in the order of display
	long    = minute(mediatest.Source{GOP: 300, BFrames: 2, Size: "160x120"})
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

// A carrier takes a frame that an encoder sends and returns it as it arrives.
type carrier func(media.Frame) (media.Frame, error)

// tags carries frames in FLV tags, whose 32 bits of milliseconds are what an
// encoder has.
func tags() carrier {
	var bytes bytes.Buffer
	writer, reader := flv.NewWriter(&bytes), flv.NewReader(&bytes)
	return func(f media.Frame) (media.Frame, error) {
		if err := writer.WriteFrame(f); err != nil {
			return f, err
		}
		return reader.ReadFrame()
	}
}

// messages carries them over RTMP, from a client to a server: chunks, and a
// timestamp of 24 bits with an extension.
func messages(t *testing.T) carrier {
	near, far := net.Pipe()
	pipes := pipeListener{conns: make(chan net.Conn, 1), closed: make(chan struct{})}
	pipes.conns <- far
	arrived := make(chan media.Frame)
	server := &rtmp.Server{Log: slog.New(slog.DiscardHandler), Handle: func(ctx context.Context, p *rtmp.Publisher) error {
		err := p.Accept()
		for err == nil {
			var f media.Frame
			if f, err = p.ReadFrame(); err != nil {
				break
			}
			f.Data = bytes.Clone(f.Data)
			select {
			case arrived <- f:
			case <-ctx.Done():
			}
		}
		return err
	}}
	ctx, stop := context.WithCancel(t.Context())
	var serving sync.WaitGroup
	serving.Go(func() { server.Serve(ctx, &pipes) })
	client, err := rtmp.NewClient(ctx, near, "rtmp://h/app/key")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); stop(); serving.Wait() })
	return func(f media.Frame) (media.Frame, error) {
		if err := client.WriteFrame(f); err != nil {
			return f, err
		}
		select {
		case f := <-arrived:
			return f, nil
		case <-ctx.Done():
			return f, context.Cause(ctx)
		}
	}
}

// wire has a broadcast carried to a session, and what that serves to a player.
func wire(t *testing.T, s *Session, p *player, broadcast []arrival, carry carrier) {
	t.Helper()
	for i, a := range broadcast {
		f, err := carry(a.frame)
		if err != nil {
			t.Fatalf("frame %d: %v", i, err)
		}
		if err := s.write(f, noon.Add(a.at)); err != nil {
			t.Fatalf("frame %d, %v after the start: %v", i, a.at, err)
		}
		p.look()
	}
	if err := s.source.Close(); err != nil {
		t.Fatal(err)
	}
	p.look()
}

var noon = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// A player fetches all that a session shows as soon as it is there.
type player struct {
	hlscheck.Player
	t       *testing.T
	session *Session
}

func newPlayer(t *testing.T, container string) (*Session, *player) {
	channel := ivs.Channel{LatencyMode: ivs.LatencyLow, ContainerFormat: container}
	s := newSession(channel, &rtmp.Publisher{}, func(error) {})
	t.Cleanup(s.Stream.Release)
	p := &player{t: t, session: s, Player: hlscheck.Player{Handler: s.Stream, Path: "/source/", Extension: ".ts", Parts: true}}
	if container == ivs.ContainerFMP4 {
		p.Extension = ".m4s"
	}
	return s, p
}

func (p *player) look() {
	s := p.session.source.Stats()
	p.Fetch(p.t.Context(), s.Parts, s.Segments)
}

// decode lets ffmpeg's decoders have all segments, one run for each init
// segment, and returns how many video frames there were.
func (p *player) decode() (frames int) {
	p.t.Helper()
	var run []byte
	var init string
	flush := func() {
		if len(run) > 0 {
			frames += mediatest.Decode(p.t, p.Extension[1:], append(p.Body(init), run...))
		}
		run = nil
	}
	for _, g := range p.Listed() {
		if g.Init != init {
			flush()
			init = g.Init
		}
		run = append(run, p.Body(g.Name)...)
	}
	flush()
	return frames
}
