//go:build !linux

package hls

import (
	"fmt"
	"os"
)

// newFile makes a temporary file without a name.
func newFile() (*os.File, error) {
	f, err := os.CreateTemp("", "millrace-segment-")
	if err != nil {
		return nil, fmt.Errorf("create a temporary file for a segment: %w", err)
	}
	os.Remove(f.Name()) // it lives until it is closed; where that fails, until the machine cleans up
	return f, nil
}

// mapping returns nil: media is copied.
func (f *file) mapping() []byte { return nil }

func (f *file) unmap() {}
