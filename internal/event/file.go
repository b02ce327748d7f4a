package event

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/millrace/millrace/internal/ivs"
)

// lines has one JSON text per line.
func lines(events []ivs.Event) ([]byte, error) {
	var b bytes.Buffer
	for _, e := range events {
		line, err := json.Marshal(e)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errRefused, err)
		}
		b.Write(append(line, '\n'))
	}
	return b.Bytes(), nil
}

// A file appends events to a file, one per line. It is opened again after every Flush,
// so it may be rotated at any time.
type file struct {
	path string

	mu   sync.Mutex
	open *os.File // guarded by mu; nil while there is nothing to flush
}

func newFile(path string) (*file, error) {
	f := &file{path: path}
	if err := f.reopen(); err != nil {
		return nil, err
	}
	return f, f.Flush()
}

// reopen opens the file, and ends a line that a loss of power has cut short.
func (f *file) reopen() error {
	open, err := os.OpenFile(f.path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return err
	}
	f.open = open
	size, err := open.Seek(0, io.SeekEnd)
	if err != nil || size == 0 {
		return nil // a pipe, or nothing in it
	}
	end := []byte{0}
	if _, err := open.ReadAt(end, size-1); err == nil && end[0] != '\n' {
		_, err = open.Write([]byte{'\n'})
		return err
	}
	return nil
}

// Send writes the events, all or none.
func (f *file) Send(_ context.Context, events []ivs.Event) (int, error) {
	b, err := lines(events)
	if err != nil {
		return 0, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open == nil {
		if err := f.reopen(); err != nil {
			return 0, fmt.Errorf("%w: %w", errUnreachable, err)
		}
	}
	if n, err := f.open.Write(b); err != nil {
		return 0, fmt.Errorf("%w: %w", errUnreachable, errors.Join(err, f.undo(n)))
	}
	return len(events), nil
}

// undo removes the last n bytes of the file, an incomplete line after the disk became
// full. It cannot remove them from a pipe.
func (f *file) undo(n int) error {
	if n == 0 {
		return nil
	}
	end, err := f.open.Seek(0, io.SeekEnd)
	if err != nil {
		return nil // a pipe
	}
	return f.open.Truncate(end - int64(n))
}

// Flush synchronises the file with the disk.
func (f *file) Flush() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open == nil {
		return nil
	}
	err := f.open.Sync()
	if info, statErr := f.open.Stat(); statErr == nil && !info.Mode().IsRegular() {
		err = nil // pipes cannot be synchronised
	}
	err = errors.Join(err, f.open.Close())
	f.open = nil
	return err
}
