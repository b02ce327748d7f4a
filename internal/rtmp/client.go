package rtmp

import (
	"context"
	"crypto/tls"
	"errors"

	"github.com/millrace/millrace/internal/flv"
	"github.com/millrace/millrace/internal/media"
)

// A Client publishes to an RTMP server. It is a media.Writer. One goroutine
// writes; Close may come from another.
type Client struct {
	// FourCC publishes video in the Enhanced RTMP form instead of the classic one.
	FourCC bool
}

// Dial connects to rawURL, rtmp[s]://host[:port]/app/key[?query], and returns
// once the server has accepted the publication; a refusal is a *StatusError.
// config is for rtmps; nil is the default.
func Dial(ctx context.Context, rawURL string, config *tls.Config) (*Client, error) {
	return nil, errors.New("not yet")
}

// WriteMetadata sends an onMetaData.
func (c *Client) WriteMetadata(m flv.Metadata) error { return nil }

// WriteFrame sends f, behind a sequence header where f begins a new Track.
func (c *Client) WriteFrame(f media.Frame) error { return nil }

// Close ends the publication in good order and waits until the connection's
// goroutine is gone.
func (c *Client) Close() error { return nil }
