package broadcast_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/broadcast"
	"github.com/millrace/millrace/internal/flv"
	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/hls/hlsplayer"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/media/mediatest"
	"github.com/millrace/millrace/internal/rtmp"
)

// An arrival is a frame with the encoder's times, and when it comes.
type arrival struct {
	frame media.Frame
	at    time.Duration // since the first one
}

// long is a broadcast whose key frames are 10 s apart.
var long = mediatest.Source{GOP: 300, BFrames: 2, Size: "160x120", Seconds: 60}

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
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
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
	serving.Go(func() { server.Serve(ctx, listener) })
	client, err := rtmp.Dial(ctx, "rtmp://"+listener.Addr().String()+"/app/key", nil)
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

// wire has frames carried to a broadcast, and what that serves to a player.
func wire(t *testing.T, b *broadcast.Broadcast, p *player, frames []arrival, carry carrier) {
	t.Helper()
	for i, a := range frames {
		f, err := carry(a.frame)
		if err != nil {
			t.Fatalf("frame %d: %v", i, err)
		}
		if err := b.WriteFrame(f, nil, noon.Add(a.at)); err != nil {
			t.Fatalf("frame %d, %v after the start: %v", i, a.at, err)
		}
		p.look()
	}
	b.CloseSource()
	p.look()
}

var noon = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// A player fetches all that a broadcast shows as soon as it is there.
type player struct {
	hlsplayer.Player
	t         *testing.T
	broadcast *broadcast.Broadcast
}

func newPlayer(t *testing.T, container hls.Container) (*broadcast.Broadcast, *player) {
	stream := &hls.Stream{LowLatency: true, Container: container}
	b := broadcast.New(stream, nil)
	t.Cleanup(stream.Release)
	p := &player{t: t, broadcast: b, Player: hlsplayer.Player{Stream: stream, Path: "/source/", Extension: ".ts", Parts: true}}
	if container == hls.FMP4 {
		p.Extension = ".m4s"
	}
	return b, p
}

func (p *player) look() {
	s := p.broadcast.Stats()
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
