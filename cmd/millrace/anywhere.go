package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/internal/api"
	"github.com/millrace/millrace/internal/cluster"
	"github.com/millrace/millrace/internal/forward"
	"github.com/millrace/millrace/internal/ingest"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/live"
	"github.com/millrace/millrace/internal/store"
)

// Any node accepts API calls, calls below /_millrace/ and encoders, and forwards them to
// the node that has the stream.
type anywhere struct {
	node  *cluster.Node
	owner func(ctx context.Context, channelARN string) (cluster.Stream, error) // the node's OwnerNow
	hub   *live.Hub
	log   *slog.Logger

	forwarded *atomic.Int64 // encoders that are forwarded now
}

// newAnywhere also has the hub send encoders on, where there are other nodes.
func (b base) newAnywhere(hub *live.Hub) anywhere {
	a := anywhere{b.node, b.node.OwnerNow, hub, b.log, &atomic.Int64{}}
	if b.cfg.NodeURL != "" {
		hub.Elsewhere = a.encoder
	}
	return a
}

// streams returns the number of sessions of this node that have not ended, and of
// encoders that it forwards.
func (a anywhere) streams() int { return a.hub.SessionCount() + int(a.forwarded.Load()) }

const (
	// callLimit bounds a call to the node that has a stream. It is less than the limit
	// of an API call.
	callLimit = 12 * time.Second

	// awaitOwner is how long an encoder waits for the session of its channel to end, while
	// the node that has it does not answer.
	awaitOwner = 8 * time.Second
	askEvery   = 200 * time.Millisecond
)

// askOwner calls ask with the node that has the stream of a channel. If that node no
// longer has it, or does not answer, and another node has it by then, ask is called
// with that one.
func (a anywhere) askOwner(ctx context.Context, arn string, ask func(context.Context, cluster.Peer) error) error {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	var asked string
	var last error
	for range 2 {
		s, err := a.owner(ctx, arn)
		if err != nil {
			return err
		}
		if s.Peer.Self || s.ID == asked {
			break
		}
		asked = s.ID
		last = ask(ctx, s.Peer)
		_, unreachable := errors.AsType[*cluster.UnreachableError](last)
		if !unreachable && !ivs.Is(last, ivs.StreamUnavailable) && !ivs.Is(last, ivs.NotBroadcasting) {
			return last
		}
	}
	if _, ok := errors.AsType[*ivs.Error](last); ok {
		return last
	}
	a.log.Warn("the node that has a stream does not answer", "channel", arn, "error", last)
	return ivs.Errorf(ivs.StreamUnavailable, "The server that has the stream of channel %s does not answer; try again", arn)
}

// A streamCall is an API call for a live stream, between nodes.
type streamCall struct {
	ChannelARN string        `json:"channelArn"`
	Text       string        `json:"text,omitempty"`
	AdBreakID  string        `json:"adBreakId,omitempty"`
	Length     time.Duration `json:"length,omitempty"`
}

// live are the API calls for live streams: run here, or on the node that has the stream.
func (a anywhere) live() api.Live {
	return api.Live{
		StopStream: func(ctx context.Context, arn string) error {
			return a.call(ctx, "stop-stream", streamCall{ChannelARN: arn}, a.hub.Stop(ctx, arn))
		},
		PutMetadata: func(ctx context.Context, arn, text string) error {
			return a.call(ctx, "put-metadata", streamCall{ChannelARN: arn, Text: text}, a.hub.PutMetadata(ctx, arn, text))
		},
		InsertAdBreak: func(ctx context.Context, arn, id string, length time.Duration) error {
			return a.call(ctx, "insert-ad-break", streamCall{ChannelARN: arn, AdBreakID: id, Length: length}, a.hub.InsertAdBreak(ctx, arn, id, length))
		},
	}
}

// call returns here, the result of the call on this node, unless that says that another
// node may have the stream: then it sends the call to that node.
func (a anywhere) call(ctx context.Context, name string, c streamCall, here error) error {
	if !ivs.Is(here, ivs.StreamUnavailable) || len(a.node.Members()) == 0 {
		return here
	}
	return a.askOwner(ctx, c.ChannelARN, func(ctx context.Context, p cluster.Peer) error {
		return a.node.Call(ctx, p, name, c, nil)
	})
}

// extension is run on the node that has the stream of a channel, which channel reads
// from a request.
func (a anywhere) extension(run api.Extension, channel channelOf) api.Extension {
	return func(w http.ResponseWriter, r *http.Request, scope store.Scope) error {
		if len(a.node.Members()) == 0 {
			return run(w, r, scope)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		arn, err := channel(r, body, scope)
		if err != nil || a.hub.OpenSession(arn) != nil {
			return run(w, r, scope) // it returns the error
		}
		if s, err := a.owner(r.Context(), arn); err != nil || s.Peer.Self {
			return run(w, r, scope) // not live, or its node has died
		}
		return a.askOwner(r.Context(), arn, func(ctx context.Context, p cluster.Peer) error {
			return a.pass(ctx, p, w, r, body, scope)
		})
	}
}

// addExtension adds an extension that is run on the node that has the stream of a channel.
func (a anywhere) addExtension(control *api.Server, endpoints map[string]http.Handler, pattern string, run api.Extension, channel channelOf) {
	control.Extensions[pattern] = a.extension(run, channel)
	endpoints[passedPattern(pattern)] = passed(run)
}

// addNodeExtension has an extension answered by the node whose name is in the query,
// and without a name by this one.
func (a anywhere) addNodeExtension(control *api.Server, endpoints map[string]http.Handler, pattern string, run api.Extension) {
	control.Extensions[pattern] = func(w http.ResponseWriter, r *http.Request, scope store.Scope) error {
		name := r.URL.Query().Get("node")
		if name == "" {
			return run(w, r, scope)
		}
		p, ok := a.node.Peer(name)
		switch {
		case !ok:
			return ivs.Errorf(ivs.NotFound, "There is no node %q that runs: GET /_millrace/nodes lists them", name)
		case p.Self:
			return run(w, r, scope)
		}
		ctx, cancel := context.WithTimeout(r.Context(), callLimit)
		defer cancel()
		err := a.pass(ctx, p, w, r, nil, scope)
		if away, ok := errors.AsType[*cluster.UnreachableError](err); ok {
			return ivs.Errorf(ivs.ServiceUnavailable, "Node %s does not answer; try again", away.Node)
		}
		return err
	}
	endpoints[passedPattern(pattern)] = passed(run)
}

// passedPattern is where nodes answer an extension for another node.
func passedPattern(pattern string) string {
	method, path, _ := strings.Cut(pattern, " ")
	return method + " " + passedRoot + path
}

// A channelOf reads the ARN of a channel from a request and its body.
type channelOf func(r *http.Request, body []byte, scope store.Scope) (string, error)

// Headers of a call below /_millrace/ that another node has verified and forwards.
const (
	accountHeader = "Millrace-Account"
	regionHeader  = "Millrace-Region"
)

// passedRoot is the path of such calls below the root of nodes.
const passedRoot = "passed"

// pass forwards r to another node.
func (a anywhere) pass(ctx context.Context, p cluster.Peer, w http.ResponseWriter, r *http.Request, body []byte, scope store.Scope) error {
	out, err := http.NewRequestWithContext(ctx, r.Method, p.URL+cluster.Root+passedRoot+r.URL.EscapedPath()+"?"+r.URL.RawQuery, bytes.NewReader(body))
	if err != nil {
		return err
	}
	out.Header.Set(accountHeader, scope.Account)
	out.Header.Set(regionHeader, scope.Region)
	for _, name := range []string{"If-Modified-Since", "If-None-Match", "Range"} {
		if v := r.Header.Get(name); v != "" {
			out.Header.Set(name, v)
		}
	}
	res, err := a.node.Do(ctx, p, out)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusNotModified {
		if err := cluster.ErrorOf(res, p); err != nil {
			return err
		}
	}
	for _, name := range []string{"Content-Type", "Content-Length", "Cache-Control", "Last-Modified", "Etag", "Content-Range", "Accept-Ranges"} {
		if v := res.Header.Get(name); v != "" {
			w.Header().Set(name, v)
		}
	}
	w.WriteHeader(res.StatusCode)
	io.Copy(w, res.Body) // the client, or the other node, may have disconnected
	return nil
}

// passed serves a request for an extension that another node has verified.
func passed(run api.Extension) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scope := store.Scope{Account: r.Header.Get(accountHeader), Region: r.Header.Get(regionHeader)}
		if err := run(w, r, scope); err != nil {
			cluster.WriteError(w, err)
		}
	})
}

// ofPath reads the channel from the path of a request.
func ofPath(channel func(ctx context.Context, name string, scope store.Scope) (string, error)) channelOf {
	return func(r *http.Request, _ []byte, scope store.Scope) (string, error) {
		return channel(r.Context(), r.PathValue("channel"), scope)
	}
}

// ofBody reads the channel from the JSON body of a request.
func ofBody(channel func(ctx context.Context, name string, scope store.Scope) (string, error)) channelOf {
	return func(r *http.Request, body []byte, scope store.Scope) (string, error) {
		var in struct {
			ChannelARN string `json:"channelArn"`
		}
		if err := json.Unmarshal(body, &in); err != nil {
			return "", err
		}
		return channel(r.Context(), in.ChannelARN, scope)
	}
}

// endpoints returns the handlers for requests of the other nodes.
func (a anywhere) endpoints() map[string]http.Handler {
	done := func(err error) (struct{}, error) { return struct{}{}, err }
	return map[string]http.Handler{
		"POST stop-stream": cluster.Endpoint(func(ctx context.Context, c streamCall) (struct{}, error) { return done(a.hub.Stop(ctx, c.ChannelARN)) }),
		"POST put-metadata": cluster.Endpoint(func(ctx context.Context, c streamCall) (struct{}, error) {
			return done(a.hub.PutMetadata(ctx, c.ChannelARN, c.Text))
		}),
		"POST insert-ad-break": cluster.Endpoint(func(ctx context.Context, c streamCall) (struct{}, error) {
			return done(a.hub.InsertAdBreak(ctx, c.ChannelARN, c.AdBreakID, c.Length))
		}),
		"POST encoders": forward.Handler(a.hub.Join),
	}
}

// encoder is the hub's Elsewhere: it forwards an encoder to the node that has the session
// of its channel. If that node does not answer, the encoder waits until the node is found
// dead and its session has been ended.
func (a anywhere) encoder(ctx context.Context, arn string, src ingest.Source) (again bool, err error) {
	for by := time.Now().Add(awaitOwner); time.Now().Before(by); {
		s, err := a.owner(ctx, arn)
		if ivs.Is(err, ivs.NotBroadcasting) {
			return true, errEnding
		}
		if err == nil && !s.Peer.Self {
			accepted, err := a.forward(ctx, s.Peer, src)
			_, refused := errors.AsType[*ingest.Refusal](err)
			switch {
			case accepted || refused:
				return false, err
			case errors.Is(err, ingest.ErrNoSession):
				return true, errEnding
			}
			a.log.Warn("an encoder was not forwarded to the node that has its channel's session; trying again", "channel", arn, "remote", src.Info().RemoteAddr, "node", s.Peer.Name, "error", err)
		}
		select {
		case <-ctx.Done():
			return false, context.Cause(ctx)
		case <-time.After(askEvery):
		}
	}
	return false, errEnding
}

var errEnding = ingest.Refuse(ingest.Unavailable, "The stream of this channel is ending; publish again.")

// forward carries an encoder to another node until its end.
func (a anywhere) forward(ctx context.Context, to cluster.Peer, src ingest.Source) (accepted bool, err error) {
	a.forwarded.Add(1)
	defer a.forwarded.Add(-1)
	a.log.Info("an encoder is forwarded to the node that has its channel's session", "remote", src.Info().RemoteAddr, "node", to.Name)
	return forward.Send(ctx, src, func(r *http.Request) (*http.Response, error) {
		r.URL.Path = cluster.Root + "encoders"
		return a.node.Do(r.Context(), to, r)
	})
}
