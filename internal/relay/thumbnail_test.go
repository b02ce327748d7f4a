package relay_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/internal/audience"
	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/relay"
)

// However many viewers request the thumbnail of a stream, its owner is asked every few
// seconds, whether it has one or does not answer.
func TestThumbnail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		image, made := "", time.Now().UTC().Truncate(time.Second)
		source := &relay.Source{Channel: ivs.Channel{ARN: arn}, Stream: &hls.Stream{}, Viewers: &audience.Viewers{},
			Thumbnail: func() ([]byte, time.Time) { return []byte(image), made }}
		asked, away := 0, false
		endpoints := (&relay.Owner{Source: func(string) *relay.Source { return source }, From: func(*http.Request) string { return "b" }}).Endpoints()
		mux := http.NewServeMux()
		for pattern, h := range endpoints {
			method, path, _ := strings.Cut(pattern, " ")
			mux.Handle(method+" /"+path, h)
		}
		place := relay.Place{Node: "a", StreamID: id, Do: func(r *http.Request) (*http.Response, error) {
			if strings.HasSuffix(r.URL.Path, "/thumbnail") {
				asked++
				if away {
					return nil, errors.New("connection refused")
				}
			}
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, r)
			return w.Result(), nil
		}}
		copier := &relay.Relay{Locate: func(string) (relay.Place, bool) { return place, true }, AwaitNewer: func(context.Context, time.Time) {},
			Shares: func(string) *audience.Shares { return nil }, Log: slog.New(slog.DiscardHandler), Idle: time.Hour}
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { copier.Run(ctx) })
		defer running.Wait()
		defer stop()
		synctest.Wait() // it runs
		s, err := copier.Live(t.Context(), arn)
		if err != nil {
			t.Fatal(err)
		}

		// request has some viewers request the thumbnail, when the owner has to be asked again.
		request := func(what, want string, failures int) {
			t.Helper()
			time.Sleep(5 * time.Second)
			before, failed := asked, 0
			var mu sync.Mutex
			var viewers sync.WaitGroup
			for range 20 {
				viewers.Go(func() {
					jpeg, at, err := s.Thumbnail(t.Context())
					mu.Lock()
					defer mu.Unlock()
					if err != nil {
						failed++
					}
					if string(jpeg) != want || want != "" && !at.Equal(made) {
						t.Errorf("%s: a thumbnail %q of %v, want %q of %v", what, jpeg, at, want, made)
					}
				})
			}
			viewers.Wait()
			if asked != before+1 || failed != failures {
				t.Errorf("%s: the owner was asked %d times, and %d viewers got an error, want 1 and %d", what, asked-before, failed, failures)
			}
		}
		request("none", "", 0)
		image = "first"
		request("one", "first", 0)
		image, made = "second", made.Add(time.Second)
		request("a newer one", "second", 0)
		image = strings.Repeat("x", 1<<20+1)
		request("one that is too large", "", 1)
		image, away = "third", true
		request("no answer", "", 1)
		away = false
		request("an answer again", "third", 0)
		source = nil
		request("the stream has ended", "", 0)
	})
}
