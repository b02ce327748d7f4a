//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"golang.org/x/sys/unix"
)

// A connection makes requests, one after the other.
type connection interface {
	// get returns the body of url, or nothing without keep, and its length.
	get(url string, keep bool) (body []byte, length int64, err error)
	Close() error
}

// requestTimeout is longer than any request may wait at the server.
const requestTimeout = 45 * time.Second

// dial connects to the server, by HTTP/2 and TLS if it has that address, until
// ctx is done.
func (s *server) dial(ctx context.Context) (connection, error) {
	address := s.http
	if s.https != "" {
		address = s.https
	}
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { conn.Close() })
	if s.https != "" {
		return newHTTP2(conn)
	}
	return &http1{conn.(*net.TCPConn), bufio.NewReaderSize(conn, 8<<10)}, nil
}

// http1 is a connection of HTTP/1.1.
type http1 struct {
	*net.TCPConn
	reader *bufio.Reader
}

func (c *http1) get(url string, keep bool) (body []byte, length int64, err error) {
	_ = c.SetDeadline(time.Now().Add(requestTimeout))
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: bench\r\n\r\n", url); err != nil {
		return nil, 0, err
	}
	status := ""
	length = -1
	for first := true; ; first = false {
		line, err := c.reader.ReadSlice('\n')
		if err != nil {
			return nil, 0, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		if first {
			status = string(line)
		} else if n, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			length, _ = strconv.ParseInt(string(n), 10, 64)
		}
	}
	if length < 0 {
		return nil, 0, fmt.Errorf("GET %s: %s without Content-Length", url, status)
	}
	if keep {
		body = make([]byte, length)
		_, err = io.ReadFull(c.reader, body)
	} else {
		err = c.discard(length)
	}
	if err == nil && !strings.Contains(status, " 200 ") {
		err = fmt.Errorf("GET %s: %s", url, status)
	}
	return body, length, err
}

// discard has the kernel drop n bytes, so that the load costs little beside
// what it loads.
func (c *http1) discard(n int64) error {
	inBuffer, err := c.reader.Discard(int(min(n, int64(c.reader.Buffered()))))
	if err != nil {
		return err
	}
	n -= int64(inBuffer)
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var drop [1]byte
	for n > 0 && err == nil {
		var got int
		var failed error
		err = raw.Read(func(fd uintptr) bool {
			got, failed = recvTrunc(int(fd), drop[:], n)
			return failed != unix.EAGAIN
		})
		if err == nil && (failed != nil || got == 0) {
			return fmt.Errorf("reading media: %d bytes missing: %v", n, failed)
		}
		n -= int64(got)
	}
	return err
}

// http2Conn is a connection of HTTP/2 over TLS, with the windows of Chromium.
// It speaks the protocol itself: net/http's client costs more than the server
// that is measured.
type http2Conn struct {
	*tls.Conn
	reader  *bufio.Reader
	headers *hpack.Decoder
	out     bytes.Buffer
	encoder *hpack.Encoder // into out
	stream  uint32         // the last one begun
	unacked uint32         // bytes read since the last WINDOW_UPDATE of the connection

	status string // of the response whose headers are read
}

const (
	streamWindow     = 6 << 20
	connectionWindow = 15 << 20
)

func newHTTP2(conn net.Conn) (connection, error) {
	conn.SetDeadline(time.Now().Add(requestTimeout))
	c := &http2Conn{Conn: tls.Client(conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})} // the server's own certificate, on loopback
	if err := c.Handshake(); err != nil {
		return nil, fmt.Errorf("TLS with %s: %w", conn.RemoteAddr(), err)
	}
	if p := c.ConnectionState().NegotiatedProtocol; p != "h2" {
		return nil, fmt.Errorf("%s speaks %q, not h2", conn.RemoteAddr(), p)
	}
	c.reader = bufio.NewReaderSize(c.Conn, 4<<10)
	c.headers = hpack.NewDecoder(4<<10, func(f hpack.HeaderField) {
		if f.Name == ":status" {
			c.status = f.Value
		}
	})
	c.encoder = hpack.NewEncoder(&c.out)
	var hello bytes.Buffer
	hello.WriteString(http2.ClientPreface)
	f := http2.NewFramer(&hello, nil)
	err := errors.Join(f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: streamWindow}, http2.Setting{ID: http2.SettingEnablePush, Val: 0}),
		f.WriteWindowUpdate(0, connectionWindow-65535))
	if err != nil {
		return nil, err
	}
	if _, err = c.Write(hello.Bytes()); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *http2Conn) get(url string, keep bool) (body []byte, length int64, err error) {
	_ = c.SetDeadline(time.Now().Add(requestTimeout))
	if c.stream == 0 {
		c.stream = 1
	} else {
		c.stream += 2
	}
	c.out.Reset()
	for _, f := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "bench"}, {":path", url}} {
		if err := c.encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1], Sensitive: f[0] == ":path"}); err != nil { // paths fill no table
			return nil, 0, err
		}
	}
	var request bytes.Buffer
	if err := http2.NewFramer(&request, nil).WriteHeaders(http2.HeadersFrameParam{StreamID: c.stream, BlockFragment: c.out.Bytes(), EndStream: true, EndHeaders: true}); err != nil {
		return nil, 0, err
	}
	if _, err := c.Write(request.Bytes()); err != nil {
		return nil, 0, err
	}
	for ended := false; !ended; {
		if body, length, ended, err = c.frame(body, length, keep); err != nil {
			return nil, length, fmt.Errorf("GET %s: %w", url, err)
		}
	}
	if c.status != "200" {
		err = fmt.Errorf("GET %s: %s", url, c.status)
	}
	return body, length, err
}

// frame reads one frame (RFC 9113, section 4.1). body and length grow by its
// data; ended says that the response is whole.
func (c *http2Conn) frame(body []byte, length int64, keep bool) (_ []byte, _ int64, ended bool, err error) {
	var head [9]byte
	if _, err := io.ReadFull(c.reader, head[:]); err != nil {
		return body, length, false, err
	}
	size := uint32(head[0])<<16 | uint32(head[1])<<8 | uint32(head[2])
	kind, flags, stream := http2.FrameType(head[3]), http2.Flags(head[4]), binary.BigEndian.Uint32(head[5:])
	if kind == http2.FrameData && !keep {
		_, err = c.reader.Discard(int(size))
		length += int64(size)
		return body, length, flags.Has(http2.FlagDataEndStream), errors.Join(err, c.acknowledge(size))
	}
	payload := make([]byte, size)
	if _, err := io.ReadFull(c.reader, payload); err != nil {
		return body, length, false, err
	}
	switch kind {
	case http2.FrameData:
		return append(body, payload...), length + int64(size), flags.Has(http2.FlagDataEndStream), c.acknowledge(size)
	case http2.FrameHeaders, http2.FrameContinuation: // neither server pads them or gives priorities
		_, err = c.headers.Write(payload)
		return body, length, stream == c.stream && flags.Has(http2.FlagHeadersEndStream) && kind == http2.FrameHeaders, err
	case http2.FrameSettings:
		if !flags.Has(http2.FlagSettingsAck) {
			_, err = c.Write([]byte{0, 0, 0, byte(http2.FrameSettings), byte(http2.FlagSettingsAck), 0, 0, 0, 0})
		}
	case http2.FramePing:
		if !flags.Has(http2.FlagPingAck) {
			_, err = c.Write(append([]byte{0, 0, 8, byte(http2.FramePing), byte(http2.FlagPingAck), 0, 0, 0, 0}, payload...))
		}
	case http2.FrameRSTStream, http2.FrameGoAway:
		err = fmt.Errorf("the server sent %v %x", kind, payload)
	}
	return body, length, false, err
}

// acknowledge opens the connection's window again when half of it is used. No
// response is as large as a stream's window.
func (c *http2Conn) acknowledge(n uint32) error {
	if c.unacked += n; c.unacked < connectionWindow/2 {
		return nil
	}
	update := binary.BigEndian.AppendUint32([]byte{0, 0, 4, byte(http2.FrameWindowUpdate), 0, 0, 0, 0, 0}, c.unacked)
	c.unacked = 0
	_, err := c.Write(update)
	return err
}
