package forward_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/forward"
	"github.com/millrace/millrace/internal/ingest"
	"github.com/millrace/millrace/internal/ingest/ingesttest"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/media/mediatest"
)

// pair is a node that has a session, whose hub is join, and one that sends it an
// encoder.
func pair(t *testing.T, join func(context.Context, ingest.Source) error) func(context.Context, ingest.Source) error {
	t.Helper()
	server := httptest.NewUnstartedServer(forward.Handler(join))
	protocols := &http.Protocols{}
	protocols.SetUnencryptedHTTP2(true)
	server.Config.Protocols = protocols
	server.Start()
	t.Cleanup(server.Close)
	base, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{Protocols: protocols}}
	return func(ctx context.Context, src ingest.Source) error {
		_, err := forward.Send(ctx, src, func(r *http.Request) (*http.Response, error) {
			r.URL.Scheme, r.URL.Host = base.Scheme, base.Host
			return client.Do(r)
		})
		return err
	}
}

// A carried holds what reached the other node of an encoder.
type carried struct {
	info     ingest.Info
	metadata ingest.Metadata
	stats    media.InputStats
	audio    *media.Track
	frames   []media.Frame
	end      error
}

// read reads src to its end.
func read(src ingest.Source) (c carried) {
	c.info = src.Info()
	for {
		f, err := src.ReadFrame()
		c.metadata, c.stats, c.audio = src.Metadata(), src.Stats(), src.AudioTrack()
		if err != nil {
			c.end = err
			return c
		}
		f.Data = append([]byte{}, f.Data...)
		c.frames = append(c.frames, f)
	}
}

// What an encoder says and sends arrives as it was, and so does its end.
func TestForward(t *testing.T) {
	frames := mediatest.Source{Seconds: 2, BFrames: 2, Size: "160x120"}.Frames(t)
	var got carried
	send := pair(t, func(_ context.Context, src ingest.Source) error {
		if err := src.Accept(); err != nil {
			return err
		}
		got = read(src)
		return nil
	})
	var running sync.WaitGroup
	info := ingest.Info{Protocol: "memory", StreamKey: "sk_x", Query: url.Values{"priority": {"7"}}, Secure: true}
	e, err := ingesttest.Publish(t.Context(), &running, send, info)
	if err != nil {
		t.Fatal(err)
	}
	e.Announce(ingest.Metadata{Encoder: "test", VideoBitrate: 1e6, FrameRate: 30})
	e.Count(media.InputStats{Repaired: 3})
	for _, f := range frames {
		if err := e.WriteFrame(f); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	running.Wait()
	if !errors.Is(got.end, io.EOF) {
		t.Errorf("the end is %v", got.end)
	}
	if i := got.info; i.Protocol != info.Protocol || i.StreamKey != info.StreamKey || !i.Secure || i.Query.Get("priority") != "7" || i.RemoteAddr.String() != ingesttest.Addr.String() {
		t.Errorf("info %+v", i)
	}
	if got.metadata.Encoder != "test" || got.metadata.VideoBitrate != 1e6 || got.stats.Repaired != 3 || got.audio == nil {
		t.Errorf("%+v, %+v, audio %v", got.metadata, got.stats, got.audio)
	}
	if diff := cmp.Diff(frames, got.frames); diff != "" {
		t.Errorf("frames differ: %.2000s", diff)
	}
	for _, f := range got.frames[1:] {
		if f.Track.IsVideo() == got.frames[0].Track.IsVideo() && f.Track != got.frames[0].Track {
			t.Fatal("a track has become another one")
		}
	}
}

// A node that has a session and drains has the node in front ask the encoder to connect
// again, and the stream goes on until it does.
func TestForwardReconnects(t *testing.T) {
	frames := mediatest.Source{Seconds: 1, Size: "160x120"}.Frames(t)
	for name, early := range map[string]bool{"before it begins": true, "while it sends": false} {
		t.Run(name, func(t *testing.T) {
			var got carried
			send := pair(t, func(_ context.Context, src ingest.Source) error {
				if early {
					src.Reconnect()
				}
				if err := src.Accept(); err != nil {
					return err
				}
				if _, err := src.ReadFrame(); err != nil {
					return err
				}
				if !early {
					src.Reconnect()
				}
				got = read(src)
				return nil
			})
			var running sync.WaitGroup
			e, err := ingesttest.Publish(t.Context(), &running, send, ingest.Info{Protocol: "memory", Reconnects: true})
			if err != nil {
				t.Fatal(err)
			}
			if err := e.WriteFrame(frames[0]); err != nil {
				t.Fatal(err)
			}
			select {
			case <-e.Asked():
			case <-time.After(90 * time.Second):
				t.Fatal("the encoder is not asked to connect again")
			}
			if err := e.WriteFrame(frames[1]); err != nil {
				t.Fatal(err)
			}
			if err := e.Close(); err != nil {
				t.Error(err)
			}
			running.Wait()
			if !errors.Is(got.end, io.EOF) || len(got.frames) != 1 || !got.info.Reconnects {
				t.Errorf("after that %d frames arrive, and the end is %v; %+v", len(got.frames), got.end, got.info)
			}
		})
	}
}

// A refusal reaches the encoder in its words, before it begins and while it sends; a
// lost connection reaches the other node as that.
func TestForwardEnds(t *testing.T) {
	frames := mediatest.Source{Seconds: 1, Size: "160x120"}.Frames(t)
	refusal := ingest.Refuse(ingest.TakeoverDenied, "Not you.")
	publish := func(t *testing.T, join func(context.Context, ingest.Source) error) (*ingesttest.Encoder, error) {
		running := &sync.WaitGroup{}
		t.Cleanup(running.Wait)
		return ingesttest.Publish(t.Context(), running, pair(t, join), ingest.Info{Protocol: "memory"})
	}
	is := func(t *testing.T, err error) {
		t.Helper()
		if got, ok := errors.AsType[*ingest.Refusal](err); !ok || got.Reason != refusal.Reason || got.Text != refusal.Text {
			t.Errorf("the encoder is told %v", err)
		}
	}
	t.Run("refused", func(t *testing.T) {
		_, err := publish(t, func(context.Context, ingest.Source) error { return refusal })
		is(t, err)
	})
	t.Run("no session", func(t *testing.T) {
		if _, err := publish(t, func(context.Context, ingest.Source) error { return ingest.ErrNoSession }); !errors.Is(err, ingest.ErrNoSession) {
			t.Errorf("%v", err)
		}
	})
	t.Run("cut", func(t *testing.T) {
		e, err := publish(t, func(_ context.Context, src ingest.Source) error {
			if err := src.Accept(); err != nil {
				return err
			}
			if _, err := src.ReadFrame(); err != nil {
				t.Error(err)
			}
			go src.Cut(refusal)
			return read(src).end
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := e.WriteFrame(frames[0]); err != nil {
			t.Error(err)
		}
		for err == nil {
			err = e.WriteFrame(frames[1])
		}
		is(t, err)
	})
	t.Run("lost", func(t *testing.T) {
		got := make(chan error, 1)
		e, err := publish(t, func(_ context.Context, src ingest.Source) error {
			if err := src.Accept(); err != nil {
				return err
			}
			got <- read(src).end
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		e.Lose()
		select {
		case err := <-got:
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("the end is %v", err)
			}
		case <-time.After(90 * time.Second):
			t.Error("the other node has not noticed")
		}
	})
}
