package main

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/internal/cluster"
	"github.com/millrace/millrace/internal/ingest"
	"github.com/millrace/millrace/internal/ingest/ingesttest"
	"github.com/millrace/millrace/internal/ivs"
)

// A node that has a stream and does not answer is waited for: 12 s by a call, and by
// an encoder 8 s, in which the node may be found dead.
func TestOwnerDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes := anywhere{node: &cluster.Node{}, log: slog.New(slog.DiscardHandler), forwarded: &atomic.Int64{}, owner: func(_ context.Context, arn string) (cluster.Stream, error) {
			return cluster.Stream{ID: "st-1", ChannelARN: arn, Peer: cluster.Peer{Name: "away", URL: "http://[nowhere"}}, nil
		}}
		began := time.Now()
		err := nodes.askOwner(t.Context(), "arn", func(ctx context.Context, p cluster.Peer) error {
			<-ctx.Done()
			return &cluster.UnreachableError{Node: p.Name, Err: ctx.Err()}
		})
		if d := time.Since(began); !ivs.Is(err, ivs.StreamUnavailable) || d != 12*time.Second {
			t.Errorf("a call ended after %v with %v", d, err)
		}

		var running sync.WaitGroup
		began = time.Now()
		_, err = ingesttest.Publish(t.Context(), &running, func(ctx context.Context, src ingest.Source) error {
			again, err := nodes.encoder(ctx, "arn", src)
			if again {
				t.Error("an encoder may try again although the node is not dead")
			}
			return err
		}, ingest.Info{Protocol: "memory"})
		running.Wait()
		if d := time.Since(began); !errors.Is(err, errEnding) || d < 8*time.Second || d > 9*time.Second {
			t.Errorf("an encoder was refused after %v with %v", d, err)
		}
	})
}
