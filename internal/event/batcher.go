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
	store *store.DB
	asked chan question // closed when no runner is left
}

type question struct {
	ctx    context.Context
	claim  store.Claim
	answer chan answer // has room for it
}

type answer struct {
	lanes []store.Lane
	err   error
}

func newBatcher(db *store.DB) *batcher {
	return &batcher{store: db, asked: make(chan question)}
}

// claim is store.DB.RecordAndClaim for one claim.
func (b *batcher) claim(ctx context.Context, c store.Claim) ([]store.Lane, error) {
	q := question{ctx, c, make(chan answer, 1)}
	b.asked <- q
	a := <-q.answer
	return a.lanes, a.err
}

// run answers until asked is closed.
func (b *batcher) run() {
	for q := range b.asked {
		b.answer(append([]question{q}, b.waiting()...))
	}
}

// waiting returns the questions that have arrived since.
func (b *batcher) waiting() (all []question) {
	for {
		select {
		case q, ok := <-b.asked:
			if !ok {
				return all
			}
			all = append(all, q)
		default:
			return all
		}
	}
}

func (b *batcher) answer(questions []question) {
	claims := make([]store.Claim, len(questions))
	for i, q := range questions {
		claims[i] = q.claim
	}
	// Deliveries are recorded even if the runner is stopping.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(questions[0].ctx), storeTime)
	defer cancel()
	lanes, err := b.store.RecordAndClaim(ctx, claims...)
	for i, q := range questions {
		a := answer{err: err}
		if err == nil {
			a.lanes = lanes[i]
		}
		q.answer <- a
	}
}
