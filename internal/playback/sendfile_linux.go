package playback

import (
	"io"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// FastListener returns l with connections to which net/http sends sections of files with
// sendfile(2): media is copied from the segment's memory file to the socket, not through
// the process. (The standard library does so only for whole files: it passes no offset of
// its own, and viewers share the files.)
func FastListener(l net.Listener) net.Listener { return fastListener{l} }

type fastListener struct{ net.Listener }

func (l fastListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if tcp, ok := c.(*net.TCPConn); ok {
		return fastConn{tcp}, nil
	}
	return c, err
}

type fastConn struct{ *net.TCPConn }

// ReadFrom is called by net/http for a body of known length.
func (c fastConn) ReadFrom(src io.Reader) (n int64, err error) {
	section, ok := src.(*io.SectionReader)
	if !ok {
		return c.TCPConn.ReadFrom(src)
	}
	whole, offset, size := section.Outer()
	file, ok := whole.(syscall.Conn)
	read, err := section.Seek(0, io.SeekCurrent) // net/http sends the first bytes with the header
	if !ok || err != nil {
		return c.TCPConn.ReadFrom(src)
	}
	from, err := file.SyscallConn()
	if err != nil {
		return 0, err
	}
	to, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	controlErr := from.Control(func(fd uintptr) { n, err = sendfile(to, int(fd), offset+read, size-read) })
	if controlErr != nil {
		return n, controlErr
	}
	return n, err
}

// sendfile sends a section of a file. It blocks as a write does.
func sendfile(to syscall.RawConn, file int, offset, size int64) (sent int64, err error) {
	writeErr := to.Write(func(fd uintptr) (done bool) {
		for sent < size {
			n, sendErr := unix.Sendfile(int(fd), file, &offset, int(size-sent))
			switch {
			case sendErr == unix.EINTR:
			case sendErr == unix.EAGAIN:
				return false
			case sendErr != nil:
				err = sendErr
				return true
			case n == 0:
				err = io.ErrUnexpectedEOF
				return true
			}
			sent += int64(max(n, 0))
		}
		return true
	})
	if writeErr != nil {
		return sent, writeErr
	}
	return sent, err
}
