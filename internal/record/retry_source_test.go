package record

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// What fails while a stream is live is tried again until it has ended, however long
// that takes.
func TestRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{ended: make(chan struct{})}
		began := time.Now()
		away := errors.New("away")
		err := s.retry(t.Context(), func() error {
			if time.Since(began) < 20*time.Second {
				return away
			}
			return nil
		})
		if waited := time.Since(began); err != nil || waited > 22*time.Second {
			t.Errorf("after %v: %v", waited, err)
		}
		began = time.Now()
		time.AfterFunc(time.Minute, func() { close(s.ended) })
		if err := s.retry(t.Context(), func() error { return away }); !errors.Is(err, away) || time.Since(began) < time.Minute || time.Since(began) > 63*time.Second {
			t.Errorf("of a stream that has ended: %v after %v", err, time.Since(began))
		}
	})
}
