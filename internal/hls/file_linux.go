package hls

import (
	"fmt"
	"os"
	"sync/atomic"

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

const (
	// mapSize is how much of a file is mapped: more than segments have. It takes addresses,
	// not memory, and what is added to the file later is there too.
	mapSize = 32 << 20

	// maxMapped is for how many files at a time, far less than the mappings that a process
	// may have (vm.max_map_count, 65,530), of which Go's runtime needs some.
	maxMapped = 16 << 10
)

var mappedFiles atomic.Int64

// mapping returns the memory of f, valid while f is held; nil if there is none.
func (f *file) mapping() []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mapped != nil {
		return f.mapped
	}
	if mappedFiles.Add(1) > maxMapped {
		mappedFiles.Add(-1)
		return nil
	}
	m, err := unix.Mmap(int(f.Fd()), 0, mapSize, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		mappedFiles.Add(-1)
		return nil // it is copied
	}
	f.mapped = m
	return m
}

// unmap is called when nothing holds f any more.
func (f *file) unmap() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mapped != nil {
		_ = unix.Munmap(f.mapped) // it was mapped
		f.mapped = nil
		mappedFiles.Add(-1)
	}
}
