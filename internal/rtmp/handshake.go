package rtmp

import (
	"bufio"
	"crypto/rand"
	"fmt"
	"io"
)

const (
	version       = 3
	handshakeSize = 1536 // C1, S1, C2 and S2
)

// serverHandshake answers C0 and C1 and reads C2 (RTMP 1.0, 5.2). S2 is a plain
// echo and S1 says version 0: encoders that sign their C1 take that as a server
// without signatures and continue without, as the specification has it.
func serverHandshake(r *bufio.Reader, w io.Writer) error {
	first, err := r.ReadByte()
	if err != nil {
		return fmt.Errorf("handshake: C0: %w", err)
	}
	if first != version {
		return fmt.Errorf("handshake: C0 says version %d%s", first, guess(first))
	}
	out := make([]byte, 1+2*handshakeSize)
	out[0] = version
	s1, s2 := out[1:1+handshakeSize], out[1+handshakeSize:]
	if _, err := rand.Read(s1[8:]); err != nil {
		return fmt.Errorf("handshake: S1: %w", err)
	}
	if _, err := io.ReadFull(r, s2); err != nil {
		return fmt.Errorf("handshake: C1: %w", err)
	}
	if _, err := w.Write(out); err != nil {
		return fmt.Errorf("handshake: S0 to S2: %w", err)
	}
	if _, err := io.ReadFull(r, s2); err != nil {
		return fmt.Errorf("handshake: C2: %w", err)
	}
	return nil
}

func guess(first byte) string {
	switch first {
	case 0x16:
		return ": this looks like TLS on the plain RTMP port"
	case 'G', 'P', 'H', 'O':
		return ": this looks like HTTP"
	}
	return ""
}

// clientHandshake sends C0 and C1, and C2 as the echo of S1. What S2 holds is
// not checked, as servers that sign do not echo.
func clientHandshake(r *bufio.Reader, w io.Writer) error {
	buf := make([]byte, 1+handshakeSize)
	buf[0] = version
	if _, err := rand.Read(buf[9:]); err != nil {
		return fmt.Errorf("handshake: C1: %w", err)
	}
	if _, err := w.Write(buf); err != nil {
		return fmt.Errorf("handshake: C0 and C1: %w", err)
	}
	if _, err := io.ReadFull(r, buf); err != nil {
		return fmt.Errorf("handshake: S0 and S1: %w", err)
	}
	if buf[0] != version {
		return fmt.Errorf("handshake: S0 says version %d", buf[0])
	}
	if _, err := w.Write(buf[1:]); err != nil {
		return fmt.Errorf("handshake: C2: %w", err)
	}
	if _, err := r.Discard(handshakeSize); err != nil {
		return fmt.Errorf("handshake: S2: %w", err)
	}
	return nil
}
