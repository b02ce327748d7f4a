package relay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/internal/audience"
	"github.com/millrace/millrace/internal/hls/hlsplayer"
)

// slowly lets a message through now and then.
type slowly struct {
	messages [][]byte
	every    time.Duration
}

func (s *slowly) Read(b []byte) (int, error) {
	if len(s.messages) == 0 {
		return 0, io.EOF
	}
	if len(b) < len(s.messages[0]) {
		n := copy(b, s.messages[0])
		s.messages[0] = s.messages[0][n:]
		return n, nil
	}
	time.Sleep(s.every)
	n := copy(b, s.messages[0])
	s.messages = s.messages[1:]
	return n, nil
}

// ownerThatSends has the stream st-1, of which it sends messages slowly.
func ownerThatSends(messages func() [][]byte) Place {
	return Place{Node: "a", StreamID: "st-1", Do: func(r *http.Request) (*http.Response, error) {
		if r.Method != http.MethodGet {
			return &http.Response{StatusCode: http.StatusNoContent, Body: http.NoBody}, nil
		}
		if strings.HasSuffix(r.URL.Path, "/channel") {
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(`{"arn":"arn"}`))}, nil
		}
		return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(&slowly{messages(), openTime - time.Second})}, nil
	}}
}

// A copy begins however long all of the window takes, as long as it comes; kinds of
// changes that are not known are skipped; and one that cannot be used ends the copy, and
// is not fetched over and over.
func TestPull(t *testing.T) {
	date := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	messages := func(list ...any) (all [][]byte) {
		for _, v := range list {
			var b bytes.Buffer
			if err := (&writer{w: &b}).write(v, nil); err != nil {
				t.Fatal(err)
			}
			all = append(all, b.Bytes())
		}
		return all
	}
	hello := greeting{LowLatency: true, TargetDuration: 2 * time.Second}
	added := change{Kind: "added", Rendition: "source", Added: &addedJSON{}}
	gap := func(n int64) change {
		return change{Kind: "gap", Rendition: "source", Head: &headJSON{Number: n, Date: date.Add(time.Duration(n) * time.Second)}, Duration: time.Second}
	}
	init := change{Kind: "init", Rendition: "source", Init: &initJSON{}}
	unknown := change{Kind: "sprite", Rendition: "thumbnails"}
	synced := change{Kind: kindSynced}
	broken := change{Kind: "part", Rendition: "source"} // which part?
	for name, tt := range map[string]struct {
		sent   []any
		opens  bool
		asked  int
		listed string
	}{
		"slow, with what is unknown": {[]any{hello, added, init, gap(0), unknown, gap(1), gap(2), synced, gap(3)}, true, 1, "3.ts"},
		"unusable":                   {[]any{hello, added, init, gap(0), synced, gap(1), broken, gap(2)}, true, 1, "1.ts"},
		"unusable at once":           {[]any{hello, broken}, false, 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked := 0
				place := ownerThatSends(func() [][]byte { asked++; return messages(tt.sent...) })
				r := &Relay{
					Locate:     func(string) (Place, bool) { return place, true },
					AwaitNewer: func(context.Context, time.Time) {},
					Shares:     func(string) *audience.Shares { return nil },
					Log:        slog.New(slog.DiscardHandler),
				}
				ctx, stop := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- r.Run(ctx) }()
				defer func() { stop(); <-done }()
				synctest.Wait()
				s, err := r.Stream(t.Context(), "st-1")
				if err != nil {
					t.Fatal(err)
				}
				s, err = r.Open(t.Context(), s, "192.0.2.1:80")
				if (err == nil) != tt.opens {
					t.Fatalf("Open: %v", err)
				}
				if err == nil {
					for range 10 { // it is watched
						time.Sleep(5 * time.Second)
						r.Open(t.Context(), s, "192.0.2.1:80")
					}
					if !s.ended.Load() {
						t.Error("the copy continues")
					}
					if list := hlsplayer.Get(t.Context(), s.Media, "/source/playlist.m3u8").Body.String(); !strings.Contains(list, tt.listed) || !strings.Contains(list, "#EXT-X-ENDLIST") {
						t.Errorf("the playlist has no %s, or no end:\n%s", tt.listed, list)
					}
				}
				if asked != tt.asked {
					t.Errorf("the owner was asked %d times", asked)
				}
			})
		})
	}
}

// A stream that has just begun is waited for, and one that may be on a node that does not
// answer is not said not to exist.
func TestFind(t *testing.T) {
	unreachable := errors.New("connection refused")
	answering := func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(`{"arn":"arn:x"}`))}, nil
	}
	for name, tt := range map[string]struct {
		known time.Duration // when it becomes known
		asks  time.Duration // when the node learns of what there is
		do    func(*http.Request) (*http.Response, error)
		want  error
		after time.Duration
	}{
		"just begun":         {500 * time.Millisecond, 500 * time.Millisecond, answering, nil, 500 * time.Millisecond},
		"unknown":            {time.Hour, 300 * time.Millisecond, nil, ErrNotFound, 300 * time.Millisecond},
		"database is silent": {time.Hour, time.Hour, nil, ErrNotFound, unknownFor},
		"out of reach": {0, time.Hour, func(*http.Request) (*http.Response, error) {
			time.Sleep(2 * time.Second)
			return nil, unreachable
		}, unreachable, 2 * time.Second},
		"ended": {0, time.Hour, func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusNotFound, Body: http.NoBody}, nil
		}, ErrNotFound, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				r := &Relay{
					Locate: func(string) (Place, bool) {
						return Place{Node: "a", StreamID: "st-1", Do: tt.do}, time.Since(began) >= tt.known
					},
					AwaitNewer: func(ctx context.Context, than time.Time) {
						if !than.Equal(time.Now()) {
							t.Errorf("it waits for what there was %v ago", time.Since(than))
						}
						select {
						case <-time.After(time.Until(began.Add(tt.asks))):
						case <-ctx.Done():
						}
					},
					Shares: func(string) *audience.Shares { return nil },
					Log:    slog.New(slog.DiscardHandler),
				}
				if _, err := r.Live(t.Context(), "arn:x"); tt.known == 0 && !errors.Is(err, errStopped) {
					t.Errorf("before it runs: %v", err)
				}
				ctx, stop := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- r.Run(ctx) }()
				defer func() { stop(); <-done }()
				synctest.Wait()
				began = time.Now()
				_, err := r.Live(t.Context(), "arn:x")
				if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
					t.Errorf("%v, want %v", err, tt.want)
				}
				if d := time.Since(began); d != tt.after {
					t.Errorf("after %v, want %v", d, tt.after)
				}
				byID := time.Now()
				if _, again := r.Stream(t.Context(), "st-1"); !errors.Is(again, tt.want) || (again == nil) != (tt.want == nil) {
					t.Errorf("by its id %v, want %v", again, tt.want)
				}
				if d := time.Since(byID); tt.want != ErrNotFound && d != 0 {
					t.Errorf("its owner is asked again, for %v", d)
				}
			})
		})
	}
}

// A report of the viewers of many streams is taken, all of it, whatever players say of them.
func TestLargeReport(t *testing.T) {
	t.Parallel()
	now := time.Now()
	stalled := audience.Playback{Reporting: 1 << 20, Stalled: 1 << 20, Renditions: map[string]int{}}
	for i := range maxRenditions {
		stalled.Renditions[fmt.Sprintf("%064d", i)] = 1 << 16
	}
	c := viewerCounts{map[string]int{}, map[string]audience.Playback{}}
	sources := map[string]*Source{}
	for i := range 2000 {
		id := fmt.Sprintf("st-%023d", i)
		c.Streams[id], c.Playback[id] = 7, stalled
		sources[id] = &Source{Viewers: &audience.Viewers{}}
	}
	owner := &Owner{Source: func(id string) *Source { return sources[id] }, From: func(*http.Request) string { return "b" }}
	at := &Place{Do: func(r *http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		owner.viewers(w, r)
		return w.Result(), nil
	}}
	if err := at.report(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	for id, s := range sources {
		if n, p := s.Viewers.Count(now), s.Viewers.Playback(now); n != 7 || p.Stalled != stalled.Stalled {
			t.Fatalf("%s: %d viewers, %d stalled", id, n, p.Stalled)
		}
	}
}
