package timeline

import (
	"log/slog"
	"sync/atomic"
)

// A Kind is a kind of repair.
type Kind uint8

// The kinds of repairs.
const (
	Wrap        Kind = iota // the 24-bit or the 32-bit millisecond field wrapped
	JumpForward             // the clock was set forward; the wall clock disagreed
	JumpBack                // the clock was set back
	Equal                   // a DTS equal to the one before it; the clock may stand
	Backward                // a DTS before the last one
	Gap                     // nothing came for more than 3 s, and the clock agrees
	Skew                    // a track whose clock has nothing to do with the other's
	Composition             // a PTS too far from its DTS to be meant; set to it
	Dropped                 // a frame from before the beginning

	kinds = iota
)

// String returns the kind's name in logs and metrics.
func (k Kind) String() string {
	return [kinds]string{"wrap", "jump_forward", "jump_back", "equal_dts", "backward_dts", "gap", "track_skew", "composition", "dropped"}[k]
}

// Kinds returns all kinds of repairs.
func Kinds() (all []Kind) {
	for k := range Kind(kinds) {
		all = append(all, k)
	}
	return all
}

// Counters count the frames that a Clock repaired, by Kind.
type Counters [kinds]int64

// LogValue contains the kinds that occurred.
func (c Counters) LogValue() slog.Value {
	var attrs []slog.Attr
	for k, n := range c {
		if n > 0 {
			attrs = append(attrs, slog.Int64(Kind(k).String(), n))
		}
	}
	return slog.GroupValue(attrs...)
}

// Totals sum up the Counters of one Clock or many. Any goroutine may read them.
type Totals [kinds]atomic.Int64

// Load returns the present counts.
func (t *Totals) Load() (c Counters) {
	for k := range t {
		c[k] = t[k].Load()
	}
	return c
}

// Sum returns how many frames were repaired, in any way.
func (c Counters) Sum() (n int64) {
	for _, k := range c {
		n += k
	}
	return n
}
