package hls

import (
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// answerTime is how long a viewer may take for one part or segment.
const answerTime = time.Minute

// inMemory counts the files of this process that are open, and their bytes, which are in the
// resident set only where they are mapped; and the parts for which there was no file or
// memory.
var inMemory struct{ files, bytes, lost atomic.Int64 }

// MemoryFiles returns how many in-memory files this process holds for segments, and their
// size in bytes.
func MemoryFiles() (files, bytes int64) { return inMemory.files.Load(), inMemory.bytes.Load() }

// LostParts returns how many parts were lost because the process had no memory or file
// descriptor for them.
func LostParts() int64 { return inMemory.lost.Load() }

// A file holds the bytes of one segment. It is closed when the window and all
// its readers have released it. Viewers are cut off when it leaves the window; a Reader
// and a Feed, of which there are few, read to its end.
type file struct {
	*os.File
	refs atomic.Int32
	size atomic.Int64

	mu      sync.Mutex
	mapped  []byte              // guarded by mu; its memory, nil until bytes is called
	left    bool                // guarded by mu; it has left the window
	answers map[*Paced]struct{} // guarded by mu; to viewers who read it
}

func openFile() (*file, error) {
	f, err := newFile()
	if err != nil {
		return nil, err
	}
	b := &file{File: f, answers: map[*Paced]struct{}{}}
	b.refs.Store(1)
	inMemory.files.Add(1)
	return b, nil
}

// WriteAt appends: offset is the end of what was written before.
func (f *file) WriteAt(b []byte, offset int64) (int, error) {
	n, err := f.File.WriteAt(b, offset)
	f.size.Add(int64(n))
	inMemory.bytes.Add(int64(n))
	return n, err
}

// hold adds a reference. Another one must exist during the call.
func (f *file) hold() { f.refs.Add(1) }

func (f *file) release() {
	if f.refs.Add(-1) == 0 {
		f.unmap()
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

// bytes returns b itself, valid until close; nil if the file cannot be mapped into memory.
func (b body) bytes() []byte {
	m := b.file.mapping()
	if int64(len(m)) < b.offset+b.size {
		return nil
	}
	return m[b.offset : b.offset+b.size]
}

// writeTo sends b. Over HTTP/2 it comes from the memory that all viewers share: without
// a copy for each, and without a call for each frame.
func (b body) writeTo(p *Paced) {
	if p.http2 {
		if media := b.bytes(); media != nil {
			p.writeFrames(media)
			return
		}
	}
	_, _ = p.ReadFrom(b.reader()) // a player that left needs no answer
}

// serve calls answer with a response that is cut off when the segment leaves the
// window: no viewer keeps its memory for longer.
func (b body) serve(w http.ResponseWriter, req *http.Request, answer func(*Paced)) {
	p := NewPaced(w, req, answerTime)
	b.file.begin(p)
	defer b.file.end(p)
	answer(p)
}

// begin is called before p sends something of f.
func (f *file) begin(p *Paced) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.left {
		p.cut()
	}
	f.answers[p] = struct{}{}
}

// end is called when p has been sent. Nothing uses the response afterwards.
func (f *file) end(p *Paced) {
	f.mu.Lock()
	delete(f.answers, p)
	f.mu.Unlock()
	p.cutting.Wait()
}

// leave is called when f leaves the window, with the Stream's lock held.
func (f *file) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left = true
	for p := range f.answers {
		p.cutting.Go(p.cut) // over HTTP/2 it waits for the connection's goroutine
	}
}

func (b body) close() { b.file.release() }
