//go:build unix

package logs

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// write writes line, waiting for room as long as ctx allows.
func (w *Writer) write(ctx context.Context, line []byte) error {
	for len(line) > 0 {
		if err := w.ready(ctx); err != nil {
			return err
		}
		n, err := unix.Write(int(w.file.Fd()), line[:min(len(line), pipeChunk)])
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN) {
			continue
		}
		if err != nil {
			return err
		}
		line = line[n:]
	}
	return nil
}

// ready waits until the file takes bytes. A file whose reader has gone is ready,
// too: the write then fails.
func (w *Writer) ready(ctx context.Context) error {
	const look = 50 * time.Millisecond // how soon the end of ctx is noticed
	for {
		fds := []unix.PollFd{{Fd: int32(w.file.Fd()), Events: unix.POLLOUT}}
		n, err := unix.Poll(fds, int(look.Milliseconds()))
		if n > 0 {
			return nil
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}
