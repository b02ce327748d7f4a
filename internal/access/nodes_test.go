package access

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/internal/audience"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store/storetest"
	"github.com/millrace/millrace/internal/token"
)

// Of fifty who use one token at a time, on two nodes with one PostgreSQL, one
// begins.
func TestSingleUseOnTwoNodes(t *testing.T) {
	dsn := storetest.Postgres(t)
	nodes := []*world{newNode(t, dsn), newNode(t, dsn)}
	c := nodes[0].channel()
	raw := nodes[0].sign(nodes[0].key, c, token.Claims{SingleUse: "u"})
	var began atomic.Int32
	var users sync.WaitGroup
	for i := range 50 {
		users.Go(func() {
			w := nodes[i%2]
			if err := w.start(c, raw); err == nil {
				began.Add(1)
			} else {
				w.refused("a second use", err, CodeAuth, "has been used")
			}
		})
	}
	users.Wait()
	if n := began.Load(); n != 1 {
		t.Errorf("%d of 50 began", n)
	}
}

// A revocation on one node is in effect on another within two seconds, for what
// is being answered there as for what is asked.
func TestRevocationOnTwoNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dsn := storetest.SQLite(t)
		here, there := newNode(t, dsn), newNode(t, dsn)
		c := here.channel()
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		for _, w := range []*world{here, there} {
			running.Go(func() { w.Run(ctx) }) // it returns none
		}
		defer running.Wait()
		defer stop()
		time.Sleep(time.Second / 3) // between two looks
		g := &Grant{Identity: audience.Identity{ViewerID: "v", Version: 5}}
		cut := make(chan time.Time, 1)
		running.Go(func() {
			defer func() {
				if recover() == http.ErrAbortHandler {
					cut <- time.Now()
				}
			}()
			err := there.Serve(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, "GET", "/", nil), c.ARN, g,
				func(r *http.Request) { <-r.Context().Done() })
			if err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		began := time.Now()
		if err := here.Store.RevokeViewer(t.Context(), ivs.ViewerSession{ChannelARN: c.ARN, ViewerID: "v", Version: 5}, began); err != nil {
			t.Fatal(err)
		}
		if took := (<-cut).Sub(began); took > 2*time.Second {
			t.Errorf("an answer on another node was cut off after %v", took)
		}
		there.refused("a start there", there.start(c, there.sign(there.key, c, token.Claims{ViewerID: "v", ViewerVersion: 5})), CodeAuth, "revoked")
		there.allowed("another viewer", there.start(c, there.sign(there.key, c, token.Claims{ViewerID: "w", ViewerVersion: 5})))
	})
}
