package hls

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// newFile makes a file in memory (memfd_create(2)): what it holds is not on the
// garbage collector's heap, and the kernel can send it without a copy.
func newFile() (*os.File, error) {
	fd, err := unix.MemfdCreate("millrace-segment", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create a file in memory for a segment: %w", err)
	}
	return os.NewFile(uintptr(fd), "segment in memory"), nil
}
