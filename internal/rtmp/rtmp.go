// Package rtmp speaks RTMP ("Adobe's Real Time Messaging Protocol", 1.0): a
// Server that hands each broadcaster to a handler as a media.Reader, and a
// Client that publishes. RTMPS is the same over a TLS listener or connection.
//
// The layers are one file each, the lower knowing nothing of the upper:
// handshake.go, chunk.go (chunks to messages and back), conn.go (acknowledgement,
// pings, deadlines), command.go, then publisher.go and client.go.
package rtmp

import "fmt"

// Codes of a Refusal that encoders know. ffmpeg prints the description, librtmp
// (OBS) logs the code.
const (
	CodeBadName    = "NetStream.Publish.BadName"  // the name is taken: someone is live
	CodeDenied     = "NetStream.Publish.Denied"   // the stream key opens nothing
	CodeRejected   = "NetStream.Publish.Rejected" // not this stream: codec, transport, limits
	CodeInvalidApp = "NetConnection.Connect.InvalidApp"
)

// A Refusal is returned by Server.Handle to turn a broadcaster away, before or
// after Accept, with words that reach its operator.
type Refusal struct {
	Code        string // "" means CodeRejected
	Description string
}

func (r *Refusal) Error() string { return r.Code + ": " + r.Description }

// A StatusError is a server's answer of level "error" to the Client.
type StatusError struct {
	Code        string
	Description string
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("server said %s: %s", e.Code, e.Description)
}
