package rtmp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/internal/amf0"
	"github.com/millrace/millrace/internal/flv"
	"github.com/millrace/millrace/internal/media"
)

const (
	clientChunkSize    = 64 << 10
	clientWriteTimeout = 10 * time.Second
)

// A Client publishes to an RTMP server. It is a media.Writer. Only one goroutine may
// write; Close may be called from another.
type Client struct {
	// FourCC selects the Enhanced RTMP form instead of the classic one. It must be set
	// before the first frame.
	FourCC bool

	c            *conn
	key          string
	done         chan struct{} // closed when the reading goroutine has returned
	refused      atomic.Pointer[StatusError]
	reconnect    atomic.Bool  // the server asks for that
	video, audio *media.Track // whose sequence headers are sent
}

// Dial connects to rawURL, rtmp[s]://host[:port]/app/key[?query], and begins to publish
// there, as Publish does. config is for rtmps; nil is the default.
func Dial(ctx context.Context, rawURL string, config *tls.Config) (*Client, error) {
	t, err := parseTarget(rawURL)
	if err != nil {
		return nil, err
	}
	nc, err := t.dial(ctx, config)
	if err != nil {
		return nil, err
	}
	return t.publish(ctx, nc)
}

// Publish begins to publish to rawURL over a connection, which it closes on failure. It
// returns once the server has accepted that; a refusal is a *StatusError. It starts a
// goroutine that reads what the server sends, and ends with Close.
func Publish(ctx context.Context, nc net.Conn, rawURL string) (*Client, error) {
	t, err := parseTarget(rawURL)
	if err != nil {
		nc.Close()
		return nil, err
	}
	return t.publish(ctx, nc)
}

func (t target) publish(ctx context.Context, nc net.Conn) (*Client, error) {
	c := &Client{c: newConn(nc, clientWriteTimeout), key: t.key, done: make(chan struct{})}
	c.c.in.maxMessage = maxMessage
	stop := context.AfterFunc(ctx, func() { c.c.cut(context.Cause(ctx)) })
	if err := c.begin(t); err != nil {
		stop()
		nc.Close()
		return nil, fmt.Errorf("publish to %s: %w", t.tcURL, err)
	}
	if !stop() {
		nc.Close()
		return nil, context.Cause(ctx)
	}
	go c.listen()
	return c, nil
}

// A target is a parsed URL to publish to.
type target struct {
	tls         bool
	addr        string // host:port
	host        string
	app, key    string
	tcURL       string // without the key, which is a secret
	defaultPort string
}

func parseTarget(rawURL string) (target, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return target{}, errors.New("RTMP URL cannot be read") // the text of err would show the stream key
	}
	t := target{host: u.Hostname(), defaultPort: "1935"}
	switch u.Scheme {
	case "rtmp":
	case "rtmps":
		t.tls, t.defaultPort = true, "443"
	default:
		return t, fmt.Errorf("RTMP URL of scheme %q: rtmp or rtmps is wanted", u.Scheme)
	}
	t.app, t.key, _ = strings.Cut(strings.TrimPrefix(u.EscapedPath(), "/"), "/")
	if t.host == "" || t.app == "" || t.key == "" {
		return t, fmt.Errorf("RTMP URL for %q: must be %s://host[:port]/app/key", u.Host, u.Scheme)
	}
	if u.RawQuery != "" {
		t.key += "?" + u.RawQuery
	}
	port := u.Port()
	if port == "" {
		port = t.defaultPort
	}
	t.addr = net.JoinHostPort(t.host, port)
	t.tcURL = u.Scheme + "://" + t.addr + "/" + t.app
	return t, nil
}

func (t target) dial(ctx context.Context, config *tls.Config) (net.Conn, error) {
	if t.tls {
		return (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", t.addr)
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", t.addr)
}

// Transactions of the commands, as librtmp numbers them.
const (
	transConnect = 1 + iota
	transRelease
	transFCPublish
	transCreate
	transPublish
)

// begin takes the connection from its first byte to NetStream.Publish.Start.
func (c *Client) begin(t target) error {
	if err := clientHandshake(c.c.in.r, c.c.nc); err != nil {
		return err
	}
	c.c.sendCommand(0, amf0.String("connect"), amf0.Number(transConnect), amf0.Object{
		{Key: "app", Value: amf0.String(t.app)},
		{Key: "type", Value: amf0.String("nonprivate")},
		{Key: "flashVer", Value: amf0.String("FMLE/3.0 (compatible; Millrace)")},
		{Key: "tcUrl", Value: amf0.String(t.tcURL)},
		{Key: "fourCcList", Value: fourCCs()},
		{Key: "capsEx", Value: amf0.Number(capsReconnect)},
	})
	if err := c.await(isResult(transConnect)); err != nil {
		return err
	}
	c.c.setChunkSize(clientChunkSize)
	for i, name := range []string{"releaseStream", "FCPublish"} {
		c.c.sendCommand(0, amf0.String(name), amf0.Number(transRelease+i), amf0.Null{}, amf0.String(t.key))
	}
	c.c.sendCommand(0, amf0.String("createStream"), amf0.Number(transCreate), amf0.Null{})
	if err := c.await(isResult(transCreate)); err != nil {
		return err
	}
	c.c.sendCommand(publishStream, amf0.String("publish"), amf0.Number(transPublish), amf0.Null{}, amf0.String(t.key), amf0.String("live"))
	return c.await(func(cmd command) bool { return cmd.name == "onStatus" })
}

func isResult(transaction amf0.Number) func(command) bool {
	return func(cmd command) bool { return cmd.name == "_result" && cmd.transaction == transaction }
}

// await reads until the command that is waited for, or one that says no.
func (c *Client) await(match func(command) bool) error {
	for {
		cmd, err := c.readCommand()
		if err != nil {
			return err
		}
		if match(cmd) {
			return nil
		}
	}
}

// readCommand returns the server's next command. Statuses of level "error", and
// "_error" answers to what must succeed, are the error.
func (c *Client) readCommand() (command, error) {
	for {
		m, err := c.c.readMessage()
		if err != nil {
			return command{}, media.Truncated(err)
		}
		if m.kind != kindCommand && m.kind != kindCommandAMF3 {
			continue
		}
		cmd, err := parseCommand(m)
		if err != nil {
			return cmd, err
		}
		if cmd.name != "onStatus" && (cmd.name != "_error" || cmd.transaction == transRelease || cmd.transaction == transFCPublish) {
			return cmd, nil
		}
		if err := parseStatus(cmd.arg(1)); err != nil {
			return cmd, err
		}
		if cmd.name == "_error" {
			return cmd, &StatusError{Code: "_error", Description: "without a reason"}
		}
		return cmd, nil
	}
}

// listen answers the server until the connection ends, and keeps the error that it sends.
func (c *Client) listen() {
	defer close(c.done)
	for {
		cmd, err := c.readCommand()
		if err == nil {
			if code, _ := amf0.Get(cmd.arg(1), "code").(amf0.String); code == codeReconnect {
				c.reconnect.Store(true)
			}
			continue
		}
		var refusal *StatusError
		if errors.As(err, &refusal) {
			c.refused.CompareAndSwap(nil, refusal)
			continue
		}
		return
	}
}

// Reconnect reports whether the server has asked the encoder to connect again: it is
// about to stop, and a new connection leads to another server.
func (c *Client) Reconnect() bool { return c.reconnect.Load() }

// WriteMetadata sends an onMetaData message.
func (c *Client) WriteMetadata(m flv.Metadata) error {
	body := flv.AppendMetadata(amf0.Append(nil, amf0.String("@setDataFrame")), m)
	c.c.send(chunkData, message{kind: kindData, stream: publishStream, body: body})
	return c.explain(c.c.flush())
}

// WriteFrame sends f, preceded by a sequence header if f begins a new Track. Its DTS is
// the timestamp, modulo 2³² ms. If the server has refused the encoder in the meantime the
// error is a *StatusError.
func (c *Client) WriteFrame(f media.Frame) error {
	if refusal := c.refused.Load(); refusal != nil {
		return refusal
	}
	return c.explain(c.sendFrame(f))
}

func (c *Client) sendFrame(f media.Frame) error {
	c.c.mu.Lock()
	defer c.c.mu.Unlock()
	if c.c.writeErr != nil {
		return c.c.writeErr
	}
	id, current := byte(chunkAudio), &c.audio
	if f.Track.IsVideo() {
		id, current = chunkVideo, &c.video
	}
	m := message{kind: flv.TagType(f.Track), stream: publishStream, time: flv.Milliseconds(f.DTS)}
	if *current != f.Track {
		*current = f.Track
		m.body = flv.AppendConfig(nil, f.Track, c.FourCC)
		c.c.out.append(id, m, nil)
	}
	var head [16]byte
	m.body = flv.AppendFrameHeader(head[:0], f, c.FourCC)
	c.c.out.append(id, m, f.Data)
	return c.c.flushLocked()
}

// explain replaces the error of a connection that the server has ended by what
// the server said, which may still be on its way.
func (c *Client) explain(err error) error {
	if err == nil {
		return nil
	}
	if c.c.nc.SetReadDeadline(time.Now().Add(time.Second)) == nil {
		<-c.done
	}
	if refusal := c.refused.Load(); refusal != nil {
		return refusal
	}
	return fmt.Errorf("publish: %w", err)
}

// Close ends the publication cleanly and waits, for two seconds at most, until the server
// has closed the connection. It returns the error that the server sent, if any.
func (c *Client) Close() error {
	c.c.sendCommand(0, amf0.String("FCUnpublish"), amf0.Number(transPublish+1), amf0.Null{}, amf0.String(c.key))
	c.c.sendCommand(0, amf0.String("deleteStream"), amf0.Number(transPublish+2), amf0.Null{}, amf0.Number(publishStream))
	err := c.c.flush()
	if half, ok := c.c.nc.(interface{ CloseWrite() error }); ok && err == nil {
		err = half.CloseWrite()
	}
	if c.c.nc.SetReadDeadline(time.Now().Add(closeTimeout)) == nil {
		<-c.done
	}
	c.c.nc.Close()
	<-c.done
	if refusal := c.refused.Load(); refusal != nil {
		return refusal
	}
	if err != nil && !errors.Is(err, io.ErrClosedPipe) {
		return fmt.Errorf("end of publication: %w", err)
	}
	return nil
}
