package logs

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const (
	limitBurst = 20 // lines at once
	limitRate  = 2  // lines a second after these
)

// A limit is a token bucket for log lines.
type limit struct {
	mu     sync.Mutex
	tokens float64   // guarded by mu
	last   time.Time // guarded by mu
	left   int       // guarded by mu; lines left out since the last that was let through
}

// take reports whether a line may be written now, and how many were left out
// before it.
func (l *limit) take(now time.Time) (ok bool, left int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tokens = min(limitBurst, l.tokens+limitRate*now.Sub(l.last).Seconds())
	l.last = now
	if l.tokens < 1 {
		l.left++
		return false, 0
	}
	l.tokens--
	left, l.left = l.left, 0
	return true, left
}

// limited is a handler that leaves records out.
type limited struct {
	slog.Handler
	writer *Writer
	limits map[string]*limit // by message; shared by all handlers that come of WithAttrs and WithGroup
}

// Limit returns a handler that limits records with one of the messages: those that peers
// can cause without a valid key. Of each message it passes on 20, then 2 a second. The
// others are dropped and counted; the next record passed on has their number as
// "omitted".
func (w *Writer) Limit(h slog.Handler, messages ...string) slog.Handler {
	limits := make(map[string]*limit, len(messages))
	for _, m := range messages {
		limits[m] = &limit{tokens: limitBurst, last: time.Now()}
	}
	return limited{h, w, limits}
}

// Handle passes r on if its message's limit allows.
func (h limited) Handle(ctx context.Context, r slog.Record) error {
	l := h.limits[r.Message]
	if l == nil {
		return h.Handler.Handle(ctx, r)
	}
	ok, left := l.take(time.Now())
	if !ok {
		h.writer.omitted.Add(1)
		return nil
	}
	if left > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int("omitted", left))
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs returns a handler with the same limits.
func (h limited) WithAttrs(attrs []slog.Attr) slog.Handler {
	return limited{h.Handler.WithAttrs(attrs), h.writer, h.limits}
}

// WithGroup returns a handler with the same limits.
func (h limited) WithGroup(name string) slog.Handler {
	return limited{h.Handler.WithGroup(name), h.writer, h.limits}
}
