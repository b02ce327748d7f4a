package event

import (
	"testing"
	"testing/synctest"
	"time"
)

// The gate is shut for longer each time that a target does not answer, up to
// two minutes; between, it is ajar for a probe, and a success opens it.
func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g gate
		if g.state(time.Now()) != open || g.open() {
			t.Error("the zero gate is not open")
		}
		for i, want := range []time.Duration{1, 2, 4, 8, 16, 32, 64, 120, 120} {
			pause, first := g.close(time.Now(), time.Second)
			if pause != want*time.Second || first != (i == 0) {
				t.Errorf("the %dth pause is %v, first %v; want %v", i+1, pause, first, want*time.Second)
			}
			if again, _ := g.close(time.Now(), time.Second); again != 0 {
				t.Error("what was on the way when the gate was shut shuts it again")
			}
			if !g.closed.Load() || g.state(time.Now()) != shut {
				t.Error("the gate is not shut")
			}
			if d := time.Until(g.until); d < pause/2 || d > pause {
				t.Errorf("of a pause of %v the jitter leaves %v", pause, d)
			}
			time.Sleep(pause)
			if g.state(time.Now()) != ajar || g.closed.Load() {
				t.Errorf("after %v the gate is not ajar", pause)
			}
		}
		if !g.open() || g.state(time.Now()) != open {
			t.Error("the gate does not open")
		}
		if pause, first := g.close(time.Now(), time.Second); pause != time.Second || !first {
			t.Errorf("after it was open the pause is %v", pause)
		}
	})
}

func TestWait(t *testing.T) {
	r := runner{Courier: &Courier{}}
	for attempts, want := range map[int]time.Duration{1: 1, 2: 2, 3: 4, 7: 64, 8: 120, 40: 120, 1000: 120} {
		want *= time.Second
		for range 100 {
			if d := r.wait(attempts); d < want/2 || d > want {
				t.Errorf("after %d attempts the wait is %v, want between a half and all of %v", attempts, d, want)
			}
		}
	}
}
