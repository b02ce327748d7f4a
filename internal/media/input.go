package media

import (
	"log/slog"
	"sync"
)

// InputStats counts what an encoder sent that could not be carried as it was.
type InputStats struct {
	Early      int64 // frames dropped because their track had no configuration yet
	Malformed  int64 // frames dropped, or truncated where they become invalid
	BadConfigs int64 // configurations dropped because they are damaged
	Repaired   int64 // frames converted to the form of Frame.Data: start codes, odd lengths, empty units, ADTS
	Joined     int64 // frames that came in several messages
}

// Add returns the sum of s and o.
func (s InputStats) Add(o InputStats) InputStats {
	return InputStats{s.Early + o.Early, s.Malformed + o.Malformed, s.BadConfigs + o.BadConfigs, s.Repaired + o.Repaired, s.Joined + o.Joined}
}

// Minus returns the difference of s and o.
func (s InputStats) Minus(o InputStats) InputStats {
	return InputStats{s.Early - o.Early, s.Malformed - o.Malformed, s.BadConfigs - o.BadConfigs, s.Repaired - o.Repaired, s.Joined - o.Joined}
}

// LeftOut returns how many frames, parts of frames and configurations were dropped.
func (s InputStats) LeftOut() int64 { return s.Early + s.Malformed + s.BadConfigs }

// Each calls f with the name of each count and the count.
func (s InputStats) Each(f func(kind string, n int64)) {
	f("early", s.Early)
	f("malformed", s.Malformed)
	f("bad_config", s.BadConfigs)
	f("repaired", s.Repaired)
	f("joined", s.Joined)
}

// LogValue contains only the counts that are not 0.
func (s InputStats) LogValue() slog.Value {
	var attrs []slog.Attr
	s.Each(func(kind string, n int64) {
		if n > 0 {
			attrs = append(attrs, slog.Int64(kind, n))
		}
	})
	return slog.GroupValue(attrs...)
}

// InputTotals are sums of InputStats that any goroutine may add to and read.
type InputTotals struct {
	mu  sync.Mutex
	sum InputStats // guarded by mu
}

// Add adds s to the sums.
func (t *InputTotals) Add(s InputStats) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sum = t.sum.Add(s)
}

// Load returns the sums so far.
func (t *InputTotals) Load() InputStats {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sum
}
