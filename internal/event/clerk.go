package event

import (
	"context"
	"time"

	"github.com/millrace/millrace/internal/store"
)

// storeTime bounds one transaction of the clerk.
const storeTime = 5 * time.Second

// A clerk talks to the store for all runners: what several ask for while one
// transaction runs is done together in the next.
type clerk struct {
	store   *store.DB
	asked   chan question
	stopped chan struct{}
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

func newClerk(db *store.DB) *clerk {
	k := &clerk{store: db, asked: make(chan question), stopped: make(chan struct{})}
	go k.run()
	return k
}

// stop waits until the clerk has ended; nobody may ask any more.
func (k *clerk) stop() {
	close(k.asked)
	<-k.stopped
}

// claim is store.DB.ClaimLanes for one claim.
func (k *clerk) claim(ctx context.Context, c store.Claim) ([]store.Lane, error) {
	q := question{ctx, c, make(chan answer, 1)}
	k.asked <- q
	a := <-q.answer
	return a.lanes, a.err
}

func (k *clerk) run() {
	defer close(k.stopped)
	for q := range k.asked {
		k.answer(append([]question{q}, k.waiting()...))
	}
}

// waiting are those who have asked meanwhile.
func (k *clerk) waiting() (all []question) {
	for {
		select {
		case q, ok := <-k.asked:
			if !ok {
				return all
			}
			all = append(all, q)
		default:
			return all
		}
	}
}

func (k *clerk) answer(questions []question) {
	claims := make([]store.Claim, len(questions))
	for i, q := range questions {
		claims[i] = q.claim
	}
	// What was done is recorded even if the one who asks is stopping.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(questions[0].ctx), storeTime)
	defer cancel()
	lanes, err := k.store.ClaimLanes(ctx, claims...)
	for i, q := range questions {
		a := answer{err: err}
		if err == nil {
			a.lanes = lanes[i]
		}
		q.answer <- a
	}
}
