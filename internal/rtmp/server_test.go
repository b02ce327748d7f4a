package rtmp_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/flv"
	"github.com/millrace/millrace/internal/ingest"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/rtmp"
)

func open(t testing.TB, path string) *flv.Reader {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return flv.NewReader(bytes.NewReader(b))
}

// dialPatiently waits for a server that another process starts.
func dialPatiently(t testing.TB, url string) *rtmp.Client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	for {
		c, err := rtmp.Dial(ctx, url, nil)
		if err == nil {
			return c
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
		<-time.After(50 * time.Millisecond)
	}
}

func TestClientPublishesToServer(t *testing.T) {
	serverTLS, clientTLS := testTLS(t)
	for name, tt := range map[string]struct {
		scheme         string
		server, client *tls.Config
		fourCC         bool
	}{
		"classic":           {scheme: "rtmp"},
		"enhanced over TLS": {"rtmps", serverTLS, clientTLS, true},
	} {
		t.Run(name, func(t *testing.T) {
			takes := make(chan take, 1)
			addr := serve(t, &rtmp.Server{App: "app", Handle: record(takes)}, tt.server)
			c, err := rtmp.Dial(t.Context(), tt.scheme+"://"+addr+"/app/key?x=%20y", tt.client)
			if err != nil {
				t.Fatal(err)
			}
			c.FourCC = tt.fourCC
			if _, err := media.Copy(c, source(t)); err != nil {
				t.Fatal(err)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			k := <-takes
			k.check(t)
			if k.p.Query.Get("x") != " y" {
				t.Errorf("query %v", k.p.Query)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	for name, tt := range map[string]struct {
		url    string
		handle func(context.Context, *rtmp.Publisher) error
		want   rtmp.StatusError
	}{
		"wrong application": {"/other/key", nil, rtmp.StatusError{Code: rtmp.CodeInvalidApp, Description: `there is no application "other": publish to "app"`}},
		"no handler":        {"/app/key", nil, rtmp.StatusError{Code: rtmp.CodeRejected, Description: "this server takes no streams"}},
		"in its words": {"/app/key", func(context.Context, *rtmp.Publisher) error {
			return ingest.Refuse(ingest.AlreadyLive, "live already")
		}, rtmp.StatusError{Code: rtmp.CodeBadName, Description: "live already"}},
		"without its words": {"/app/key", func(context.Context, *rtmp.Publisher) error {
			return errors.New("database password is hunter2")
		}, rtmp.StatusError{Code: rtmp.CodeRejected, Description: "the server ended this stream"}},
	} {
		t.Run(name, func(t *testing.T) {
			addr := serve(t, &rtmp.Server{App: "app", Handle: tt.handle}, nil)
			_, err := rtmp.Dial(t.Context(), "rtmp://"+addr+tt.url, nil)
			var got *rtmp.StatusError
			if !errors.As(err, &got) || *got != tt.want {
				t.Errorf("Dial = %v, want %v", err, &tt.want)
			}
		})
	}
}

// A broadcast that is cut from outside ends with the words of the cause.
func TestCut(t *testing.T) {
	serverTLS, clientTLS := testTLS(t)
	for scheme, config := range map[string]*tls.Config{"rtmp": nil, "rtmps": serverTLS} {
		ended := make(chan error, 1)
		addr := serve(t, &rtmp.Server{Handle: func(_ context.Context, p *rtmp.Publisher) error {
			err := p.Accept()
			go func() {
				p.Cut(ingest.Refuse(ingest.Stopped, "stopped by its owner"))
				p.Cut(errors.New("too late"))
			}()
			for err == nil {
				_, err = p.ReadFrame()
			}
			ended <- err
			return err
		}}, config)
		c, err := rtmp.Dial(t.Context(), scheme+"://"+addr+"/app/key", clientTLS)
		if err != nil {
			t.Fatal(err)
		}
		var refusal *ingest.Refusal
		if err := <-ended; !errors.As(err, &refusal) || errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: ReadFrame = %v, want the refusal that cut it", scheme, err)
		}
		var status *rtmp.StatusError
		if err := c.Close(); !errors.As(err, &status) || status.Description != "stopped by its owner" {
			t.Errorf("%s: Close = %v, want the server's words", scheme, err)
		}
	}
}
