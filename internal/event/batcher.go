package event

import (
	"context"
	"time"

	"github.com/millrace/millrace/internal/store"
)

// storeTime bounds one transaction of the batcher.
const storeTime = 5 * time.Second

// A batcher claims lanes for all runners: requests that arrive during a transaction
// share the next one.
type batcher struct {
	store    *store.DB
	requests chan claimRequest // closed when no runner is left
}

type claimRequest struct {
	ctx    context.Context
	claim  store.Claim
	result chan claimResult // has room for it
}

type claimResult struct {
	lanes []store.Lane
	err   error
}

func newBatcher(db *store.DB) *batcher {
	return &batcher{store: db, requests: make(chan claimRequest)}
}

// claim is store.DB.RecordAndClaim for one claim.
func (b *batcher) claim(ctx context.Context, c store.Claim) ([]store.Lane, error) {
	r := claimRequest{ctx, c, make(chan claimResult, 1)}
	b.requests <- r
	res := <-r.result
	return res.lanes, res.err
}

// run handles requests until the channel is closed.
func (b *batcher) run() {
	for r := range b.requests {
		b.handle(append([]claimRequest{r}, b.waiting()...))
	}
}

// waiting returns the requests that are waiting, without blocking.
func (b *batcher) waiting() (all []claimRequest) {
	for {
		select {
		case r, ok := <-b.requests:
			if !ok {
				return all
			}
			all = append(all, r)
		default:
			return all
		}
	}
}

func (b *batcher) handle(requests []claimRequest) {
	claims := make([]store.Claim, len(requests))
	for i, r := range requests {
		claims[i] = r.claim
	}
	// Deliveries are recorded even if the runner is stopping.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(requests[0].ctx), storeTime)
	defer cancel()
	lanes, err := b.store.RecordAndClaim(ctx, claims...)
	for i, r := range requests {
		res := claimResult{err: err}
		if err == nil {
			res.lanes = lanes[i]
		}
		r.result <- res
	}
}
