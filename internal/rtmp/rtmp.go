// Package rtmp speaks RTMP ("Adobe's Real Time Messaging Protocol", 1.0): a
// Server that hands each encoder to a handler as an ingest.Source, and a
// Client that publishes. RTMPS is the same over a TLS listener or connection.
//
// The layers are one file each, the lower knowing nothing of the upper:
// handshake.go, chunk.go (chunks to messages and back), conn.go (acknowledgement,
// pings, deadlines), command.go, then publisher.go and client.go.
package rtmp

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/millrace/millrace/internal/ingest"
)

// App is the name of the application that encoders publish to: the first path element of
// their URL.
const App = "app"

// Codes that tell encoders why they are refused. ffmpeg prints the description, librtmp
// (OBS) logs the code.
const (
	CodeBadName    = "NetStream.Publish.BadName"  // the stream key is unknown or in use
	CodeDenied     = "NetStream.Publish.Denied"   // not over this transport, or not now
	CodeRejected   = "NetStream.Publish.Rejected" // not this stream: its media, its limits
	CodeInvalidApp = "NetConnection.Connect.InvalidApp"
)

// A refusal is an answer of level "error" by the Server.
type refusal struct{ code, description string }

func (r *refusal) Error() string { return r.code + ": " + r.description }

// codeOf is RTMP's code for a reason.
func codeOf(r ingest.Reason) string {
	switch r {
	case ingest.UnknownKey, ingest.AlreadyLive, ingest.TakeoverDenied, ingest.TakenOver:
		return CodeBadName
	case ingest.Insecure, ingest.Unavailable:
		return CodeDenied
	}
	return CodeRejected
}

// hints say in terms of RTMP what an encoder can do about a refusal.
var hints = map[ingest.Reason]string{ingest.Insecure: " Use rtmps://."}

// refusalOf is the message to an encoder when err ends its connection, or nil if
// there is none, or no connection any more.
func refusalOf(err error) *refusal {
	var own *refusal
	var refused *ingest.Refusal
	var broken *net.OpError
	switch {
	case err == nil, errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, os.ErrDeadlineExceeded),
		errors.Is(err, errProtocol), errors.As(err, &broken):
		return nil
	case errors.As(err, &own):
		return own
	case errors.As(err, &refused):
		return &refusal{codeOf(refused.Reason), refused.Text + hints[refused.Reason]}
	}
	return &refusal{CodeRejected, "the server ended this stream"}
}

// A StatusError is a server's response of level "error" to the Client.
type StatusError struct {
	Code        string
	Description string
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("server said %s: %s", e.Code, e.Description)
}
