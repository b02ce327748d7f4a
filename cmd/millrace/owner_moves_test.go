package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/cluster"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/store/storetest"
)

// A call that a node does not answer, because it has died or has the stream no more, is
// sent once more if another node has the channel's stream by then, and only then.
func TestOwnerMoves(t *testing.T) {
	ctx, log := t.Context(), slog.New(slog.DiscardHandler)
	db := storetest.Open(t, storetest.SQLite(t))
	join := func(name string) *cluster.Node {
		n, err := cluster.Register(ctx, db, store.Node{Name: name, Place: name, Host: name}, log)
		if err != nil {
			t.Fatal(err)
		}
		s := httptest.NewUnstartedServer(n.Handler(nil))
		s.Config.Protocols = &http.Protocols{}
		s.Config.Protocols.SetUnencryptedHTTP2(true)
		s.Start()
		t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
		if err := n.Join(ctx, cluster.Config{URL: s.URL, Report: func() store.NodeReport { return store.NodeReport{} }, Credentials: fixedKeys().texts}); err != nil {
			t.Fatal(err)
		}
		return n
	}
	join("first")
	join("second")
	asking := join("asked")
	a := anywhere{node: asking, owner: asking.OwnerNow, log: log}

	moved := errors.New("answered")
	for name, tt := range map[string]struct {
		fails error  // of the first node
		next  string // that has the channel's next stream when the first node has failed
		asked []string
		want  error
	}{
		"dead, and moved":     {&cluster.UnreachableError{Node: "first", Err: errors.New("refused")}, "second", []string{"first", "second"}, moved},
		"dead, and not moved": {&cluster.UnreachableError{Node: "first", Err: errors.New("refused")}, "", []string{"first"}, &ivs.Error{Kind: ivs.StreamUnavailable}},
		"ended, and moved":    {ivs.NotLive("x"), "second", []string{"first", "second"}, moved},
		"ended, and begun":    {ivs.NotLive("x"), "first", []string{"first", "first"}, moved},
		"refused":             {ivs.Errorf(ivs.Validation, "no"), "second", []string{"first"}, &ivs.Error{Kind: ivs.Validation}},
	} {
		t.Run(name, func(t *testing.T) {
			channel, _, err := createChannel(ctx, db, store.Scope{Account: "000000000000", Region: "us-west-2"}, "c", ivs.TypeBasic)
			if err != nil {
				t.Fatal(err)
			}
			begin := func(owner string) {
				if err := db.CreateSession(ctx, store.NewSession{ChannelARN: channel.ARN, StreamID: ivs.NewStreamID(), Owner: owner, At: time.Now()}); err != nil {
					t.Fatal(err)
				}
			}
			begin("first")
			var asked []string
			got := a.askOwner(ctx, channel.ARN, func(_ context.Context, p cluster.Peer) error {
				if asked = append(asked, p.Name); len(asked) > 1 {
					return moved
				}
				if tt.next != "" {
					if _, err := db.EndSessionsOf(ctx, "first"); err != nil {
						t.Error(err)
					}
					begin(tt.next)
				}
				return tt.fails
			})
			if !slices.Equal(asked, tt.asked) {
				t.Errorf("asked %q, want %q", asked, tt.asked)
			}
			kind, ok := errors.AsType[*ivs.Error](tt.want)
			if ok && !ivs.Is(got, kind.Kind) || !ok && !errors.Is(got, tt.want) {
				t.Errorf("the call fails with %v, want %v", got, tt.want)
			}
		})
	}
}
