// Package http2test is the client's side of HTTP/2 (RFC 9113) by the byte, for tests of
// what a client may do that no library does.
package http2test

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
)

// What begins a connection; NoWindow lets the server send nothing but headers. Then types
// of frames.
const (
	Preface  = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	NoWindow = "\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x04\x00\x00\x00\x00"
	Settings = "\x00\x00\x00\x04\x00\x00\x00\x00\x00"

	Headers       = 1
	RSTStream     = 3
	SettingsFrame = 4
	Ping          = 6
	GoAway        = 7
	WindowUpdate  = 8
)

// Frame returns a frame.
func Frame(kind, flags byte, stream uint32, payload string) string {
	header := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind, flags}
	return string(binary.BigEndian.AppendUint32(header, stream)) + payload
}

// Get returns a request without a body.
func Get(stream uint32, path string) string {
	block := []byte{0x82, 0x86, 0x04} // GET, http, and a path that is written out (RFC 7541, appendix A)
	if len(path) < 127 {
		block = append(block, byte(len(path)))
	} else {
		block = append(block, 127, byte(len(path)-127)&0x7f|0x80, byte((len(path)-127)>>7))
	}
	block = append(block, path...)
	block = append(block, 0x01, 1, 'x') // the host
	return Frame(Headers, 5, stream, string(block))
}

// Begin returns the headers of a request with a body.
func Begin(method byte, stream uint32, path string) string {
	text := []byte(Get(stream, path))
	text[4], text[9] = 4, method // the stream does not end here
	return string(text)
}

// Reset returns the frame that abandons a request.
func Reset(stream uint32) string {
	return Frame(RSTStream, 0, stream, "\x00\x00\x00\x08")
}

// Gets returns a hundred requests on as many streams of a connection, as many as
// the server allows.
func Gets(path func(n int) string) (text string) {
	for n := range 100 {
		text += Get(uint32(2*n+1), path(n))
	}
	return text
}

// AnswerPings answers the pings of HTTP/2 until the server has closed.
func AnswerPings(nc net.Conn) error {
	return ReadFrames(nc, func(kind byte, payload []byte) {
		if kind == Ping {
			io.WriteString(nc, Frame(Ping, 1, 0, string(payload))) // the server may have closed
		}
	})
}

// ReadFrames calls see with each frame of HTTP/2 until the server has closed.
func ReadFrames(nc net.Conn, see func(kind byte, payload []byte)) error {
	for {
		var header [9]byte
		if _, err := io.ReadFull(nc, header[:]); err != nil {
			return nil
		}
		payload := make([]byte, int(header[0])<<16|int(binary.BigEndian.Uint16(header[1:])))
		if _, err := io.ReadFull(nc, payload); err != nil {
			return fmt.Errorf("in a frame of %d bytes: %w", len(payload), err)
		}
		see(header[3], payload)
	}
}
