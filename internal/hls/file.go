package hls

import (
	"io"
	"os"
	"sync/atomic"
)

// inMemory counts the files of this process that are open, and their bytes. No
// process's resident set has them.
var inMemory struct{ files, bytes atomic.Int64 }

// MemoryFiles returns how many files in memory this process holds for segments,
// and how many bytes are in them.
func MemoryFiles() (files, bytes int64) { return inMemory.files.Load(), inMemory.bytes.Load() }

// A file holds the bytes of one segment. It is closed when the window and all
// who read it have let go.
type file struct {
	*os.File
	refs atomic.Int32
	size atomic.Int64
}

func openFile() (*file, error) {
	f, err := newFile()
	if err != nil {
		return nil, err
	}
	b := &file{File: f}
	b.refs.Store(1)
	inMemory.files.Add(1)
	return b, nil
}

// WriteAt writes what comes behind all that was written before.
func (f *file) WriteAt(b []byte, offset int64) (int, error) {
	n, err := f.File.WriteAt(b, offset)
	f.size.Add(int64(n))
	inMemory.bytes.Add(int64(n))
	return n, err
}

// hold is called by one who knows that another still holds f.
func (f *file) hold() { f.refs.Add(1) }

func (f *file) release() {
	if f.refs.Add(-1) == 0 {
		inMemory.files.Add(-1)
		inMemory.bytes.Add(-f.size.Load())
		f.Close() // nothing was promised about memory: an error has no consequence
	}
}

// A body is a range of a file: a part, or a segment. The file stays open until
// close.
type body struct {
	file         *file
	offset, size int64
}

func (b body) reader() *io.SectionReader { return io.NewSectionReader(b.file, b.offset, b.size) }

func (b body) close() { b.file.release() }
