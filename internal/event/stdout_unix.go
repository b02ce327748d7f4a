//go:build unix

package event

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/internal/ivs"
)

// A stdout writes events to the standard output, one per line. While it is not read,
// events stay pending, and nothing else is delayed.
type stdout struct{ fd int }

// newStdout duplicates the descriptor: after the reader has closed, a write to the
// original one would end the program, by SIGPIPE.
func newStdout() (stdout, error) {
	fd, err := unix.Dup(int(os.Stdout.Fd()))
	if err != nil {
		return stdout{}, fmt.Errorf("standard output: %w", err)
	}
	unix.CloseOnExec(fd)
	return stdout{fd}, nil
}

// Send writes the events one after the other. A pipe that is ready takes 4 KB without
// blocking (POSIX, PIPE_BUF), which is more than an event has.
func (s stdout) Send(ctx context.Context, events []ivs.Event) (int, error) {
	for i := range events {
		line, err := lines(events[i : i+1])
		if err != nil {
			return i, err
		}
		if err := s.ready(ctx); err != nil {
			return i, fmt.Errorf("%w: standard output: %w", errUnreachable, err)
		}
		if _, err := unix.Write(s.fd, line); err != nil {
			return i, fmt.Errorf("%w: standard output: %w", errUnreachable, err)
		}
	}
	return len(events), nil
}

// ready waits until a line can be written.
func (s stdout) ready(ctx context.Context) error {
	const look = 50 * time.Millisecond // interval at which ctx is checked
	for ctx.Err() == nil {
		fds := []unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLOUT}}
		n, err := unix.Poll(fds, int(look.Milliseconds()))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		if n > 0 {
			return nil
		}
	}
	return ctx.Err()
}

// Flush does nothing.
func (stdout) Flush() error { return nil }
