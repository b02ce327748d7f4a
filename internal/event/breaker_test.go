package event

import (
	"testing"
	"testing/synctest"
	"time"
)

// The breaker opens for longer each time that a target does not answer, up to
// two minutes; between, it is half-open for a probe, and a success closes it.
func TestBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b breaker
		if b.state(time.Now()) != closed || b.reset() {
			t.Error("the zero breaker is not closed")
		}
		for i, want := range []time.Duration{1, 2, 4, 8, 16, 32, 64, 120, 120} {
			pause, first := b.trip(time.Now(), time.Second)
			if pause != want*time.Second || first != (i == 0) {
				t.Errorf("the %dth pause is %v, first %v; want %v", i+1, pause, first, want*time.Second)
			}
			if again, _ := b.trip(time.Now(), time.Second); again != 0 {
				t.Error("a call that was on its way when the breaker opened opens it again")
			}
			if !b.tripped.Load() || b.state(time.Now()) != open {
				t.Error("the breaker is not open")
			}
			if d := time.Until(b.until); d < pause/2 || d > pause {
				t.Errorf("of a pause of %v the jitter leaves %v", pause, d)
			}
			time.Sleep(pause)
			if b.state(time.Now()) != halfOpen || b.tripped.Load() {
				t.Errorf("after %v the breaker is not half-open", pause)
			}
		}
		if !b.reset() || b.state(time.Now()) != closed {
			t.Error("the breaker does not close")
		}
		if pause, first := b.trip(time.Now(), time.Second); pause != time.Second || !first {
			t.Errorf("after it was closed the pause is %v", pause)
		}
	})
}

func TestWait(t *testing.T) {
	r := runner{Dispatcher: &Dispatcher{}}
	for attempts, want := range map[int]time.Duration{1: 1, 2: 2, 3: 4, 7: 64, 8: 120, 40: 120, 1000: 120} {
		want *= time.Second
		for range 100 {
			if d := r.wait(attempts); d < want/2 || d > want {
				t.Errorf("after %d attempts the wait is %v, want between a half and all of %v", attempts, d, want)
			}
		}
	}
}
