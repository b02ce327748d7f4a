package hls

import (
	"io"
	"os"
	"sync/atomic"
)

// A file holds the bytes of one segment. It is closed when the window and all
// who read it have let go.
type file struct {
	*os.File
	refs atomic.Int32
}

func openFile() (*file, error) {
	f, err := newFile()
	if err != nil {
		return nil, err
	}
	b := &file{File: f}
	b.refs.Store(1)
	return b, nil
}

// hold is called by one who knows that another still holds f.
func (f *file) hold() { f.refs.Add(1) }

func (f *file) release() {
	if f.refs.Add(-1) == 0 {
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
