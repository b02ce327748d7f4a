package event

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/windows"

	"github.com/millrace/millrace/internal/ivs"
)

// A stdout writes events to the standard output, one per line. Windows cannot wait for
// room in a pipe, so a write continues after the context of Send is done, and the next
// Send waits for it: while it is not read, events stay pending.
type stdout struct {
	file *os.File
	turn chan struct{} // holds one while nothing is being written
}

func newStdout() (stdout, error) {
	self := windows.CurrentProcess()
	var h windows.Handle
	if err := windows.DuplicateHandle(self, windows.Handle(os.Stdout.Fd()), self, &h, 0, false, windows.DUPLICATE_SAME_ACCESS); err != nil {
		return stdout{}, fmt.Errorf("standard output: %w", err)
	}
	s := stdout{os.NewFile(uintptr(h), "standard output"), make(chan struct{}, 1)}
	s.turn <- struct{}{}
	return s, nil
}

// Send writes the events one after the other. An event whose write was abandoned is
// sent again, so it may appear twice.
func (s stdout) Send(ctx context.Context, events []ivs.Event) (int, error) {
	for i := range events {
		line, err := lines(events[i : i+1])
		if err != nil {
			return i, err
		}
		if err := s.write(ctx, line); err != nil {
			return i, fmt.Errorf("%w: standard output: %w", errUnreachable, err)
		}
	}
	return len(events), nil
}

func (s stdout) write(ctx context.Context, line []byte) error {
	select {
	case <-s.turn:
	case <-ctx.Done():
		return ctx.Err()
	}
	done := make(chan error, 1)
	go func() {
		_, err := s.file.Write(line)
		s.turn <- struct{}{}
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Flush does nothing.
func (stdout) Flush() error { return nil }
