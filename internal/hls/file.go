package hls

import (
	"io"
	"os"
	"sync"
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

// Over HTTP/2 each Write of a handler that is not larger than a frame becomes one:
// 9 bytes of header (RFC 9113, section 4.1) and the data. dataFrame has the frame
// fill a TLS record of full size, instead of one and the beginning of another.
const dataFrame = 16<<10 - 9

// A viewer who takes nothing holds a buffer: no more than a frame.
var copyBuffers = sync.Pool{New: func() any { return new([dataFrame]byte) }}

// copyTo writes the body as the response of that major version of HTTP.
func (b body) copyTo(w io.Writer, httpVersion int) {
	if httpVersion < 2 {
		io.Copy(w, b.reader()) // by sendfile where the connection can
		return
	}
	buf := copyBuffers.Get().(*[dataFrame]byte)
	defer copyBuffers.Put(buf)
	for at := int64(0); at < b.size; {
		n, err := b.file.ReadAt(buf[:min(int64(len(buf)), b.size-at)], b.offset+at)
		if err != nil {
			return
		}
		at += int64(n)
		if _, err := w.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (b body) close() { b.file.release() }
