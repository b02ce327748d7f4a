// Package logs keeps logging from blocking the program. A Writer queues lines and writes
// them from one goroutine: if the reader of the log is slow or gone, lines are lost, and
// counted, but no time is. Secrets in the lines are masked. Limit bounds how many lines
// peers without a valid key can cause.
package logs

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	queueLines = 1024     // lines that wait
	queueBytes = 1 << 20  // bytes of them
	maxLine    = 64 << 10 // a longer line is cut
	flushTime  = time.Second

	// pipeChunk is how many bytes a pipe that polls as writable accepts without blocking
	// (POSIX, PIPE_BUF is at least 512; 4,096 on Linux).
	pipeChunk = 512

	// stallTime is how long a line may wait before the log counts as stalled.
	stallTime = 2 * time.Second
)

// A Writer is an io.Writer for a slog.Handler. Write never blocks and never fails; Run
// does the writing. It may be used by several goroutines.
type Writer struct {
	file    *os.File
	dropped atomic.Uint64
	omitted atomic.Uint64 // by Limit

	reported uint64 // by Run alone: dropped lines that the log has reported

	mu      sync.Mutex
	queue   [][]byte      // guarded by mu
	size    int           // guarded by mu; bytes in queue
	wake    chan struct{} // has room for one; a line was queued
	since   time.Time     // guarded by mu; when Run began to write the line in hand, zero if it has none
	failure error         // guarded by mu; of the last write
}

// NewWriter returns a Writer to file, which other writers may share.
func NewWriter(file *os.File) *Writer {
	return &Writer{file: file, wake: make(chan struct{}, 1)}
}

// Write queues a copy of line, with stream keys and playback tokens masked. If the queue
// is full the line is dropped and counted. The result is always len(line), nil.
func (w *Writer) Write(line []byte) (int, error) {
	kept := masked(cut(line))
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) >= queueLines || w.size+len(kept) > queueBytes {
		w.dropped.Add(1)
		return len(line), nil
	}
	w.queue = append(w.queue, append([]byte(nil), kept...))
	w.size += len(kept)
	select {
	case w.wake <- struct{}{}:
	default: // Run has not seen the last one yet
	}
	return len(line), nil
}

// cut bounds a line.
func cut(line []byte) []byte {
	const mark = "…\n"
	if len(line) <= maxLine {
		return line
	}
	return append(line[:maxLine-len(mark):maxLine-len(mark)], mark...)
}

// Run writes queued lines until ctx is done, and then the remaining ones for at most a
// second.
func (w *Writer) Run(ctx context.Context) {
	for ctx.Err() == nil {
		w.drain(ctx)
		select {
		case <-w.wake:
		case <-ctx.Done():
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTime)
	defer cancel()
	w.drain(last)
	w.dropRest()
}

// drain writes queued lines until none is left or ctx is done.
func (w *Writer) drain(ctx context.Context) {
	for ctx.Err() == nil {
		line := w.next()
		if line == nil {
			return
		}
		err := w.write(ctx, line)
		w.wrote(err, ctx.Err() != nil)
		if n := w.dropped.Load(); err == nil && n > w.reported {
			note := fmt.Appendf(nil, "time=%s level=WARN msg=\"log lines were dropped: what reads the log is slow or was gone\" lines=%d\n", time.Now().Format(time.RFC3339), n-w.reported)
			if w.write(ctx, note) == nil {
				w.reported = n
			}
		}
	}
}

func (w *Writer) next() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) == 0 {
		w.queue = nil
		return nil
	}
	line := w.queue[0]
	w.queue, w.size = w.queue[1:], w.size-len(line)
	w.since = time.Now()
	return line
}

// wrote notes the outcome of the current line. A line that was given up because
// Run's time is over is not the file's failure.
func (w *Writer) wrote(err error, over bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.since = time.Time{}
	if err != nil {
		w.dropped.Add(1)
	}
	if err == nil || !over {
		w.failure = err
	}
}

func (w *Writer) dropRest() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dropped.Add(uint64(len(w.queue)))
	w.queue, w.size = nil, 0
}

// Dropped returns how many lines were not written.
func (w *Writer) Dropped() uint64 { return w.dropped.Load() }

// Omitted returns how many lines Limit has dropped.
func (w *Writer) Omitted() uint64 { return w.omitted.Load() }

// Err returns why lines cannot be written at present, or nil.
func (w *Writer) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failure != nil {
		return fmt.Errorf("writing the log to %s: %w", w.file.Name(), w.failure)
	}
	if !w.since.IsZero() && time.Since(w.since) > stallTime {
		return fmt.Errorf("the log has stalled: %s has taken nothing for %v", w.file.Name(), time.Since(w.since).Round(time.Second))
	}
	return nil
}
