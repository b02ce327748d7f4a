package live

import (
	"context"
	"time"

	"github.com/millrace/millrace/internal/store"
)

const (
	renewEvery = 5 * time.Second  // how often the leases of this node's sessions are renewed
	leaseTime  = 15 * time.Second // a lease that is not renewed for so long has expired
)

// A leaseWatch judges the leases of sessions that this node does not carry: a
// lease has expired when the node has watched it for leaseTime, on its own
// monotonic clock, and its number of renewals has stayed the same. So a clock
// that is set, here, elsewhere or in the database, ends no session, and a node
// that was suspended itself, or whose database accepted no writes from any node,
// watches for a full lease before it judges again. The zero
// leaseWatch is ready.
type leaseWatch struct {
	watched map[string]watchedLease // by stream id
	looked  time.Time
}

type watchedLease struct {
	renewals int64
	since    time.Time // when that number was first seen
}

// expired returns those of the open sessions whose leases have expired by now,
// the time before they were read. It is called with every renewal.
func (w *leaseWatch) expired(open []store.OpenSession, carried func(streamID string) bool, now time.Time) (expired []store.OpenSession) {
	if now.Sub(w.looked) > 2*renewEvery {
		w.watched = nil
	}
	w.looked = now
	watched := map[string]watchedLease{}
	for _, s := range open {
		if carried(s.StreamID) {
			continue
		}
		l, known := w.watched[s.StreamID]
		if !known || l.renewals != s.Renewals {
			l = watchedLease{s.Renewals, now}
		}
		watched[s.StreamID] = l
		if now.Sub(l.since) >= leaseTime {
			expired = append(expired, s)
		}
	}
	w.watched = watched
	return expired
}

// Recover ends the sessions that this node left open when it crashed, and writes their
// events. It is called once, before the first Publish.
func (h *Hub) Recover(ctx context.Context) error {
	ended, err := h.Store.EndSessionsOf(ctx, h.Owner)
	for _, id := range ended {
		h.Log.Warn("ended a session that a crash had left open", "stream", id)
	}
	return err
}

// endExpired ends the sessions of nodes that died.
func (h *Hub) endExpired(ctx context.Context, w *leaseWatch) {
	ctx, cancel := context.WithTimeout(ctx, dbTimeout)
	defer cancel()
	ended, err := h.tryEndExpired(ctx, w)
	for _, id := range ended {
		h.Log.Warn("ended a session whose lease has expired: its node has not renewed it", "stream", id, "lease", leaseTime)
	}
	if err != nil {
		*w = leaseWatch{}
		h.Log.Error("looking for sessions whose leases have expired failed: they are watched for a full lease again", "error", err)
	}
}

func (h *Hub) tryEndExpired(ctx context.Context, w *leaseWatch) (ended []string, err error) {
	if err := h.Store.ProbeWrite(ctx); err != nil {
		return nil, err // no other node can renew a lease now
	}
	now := time.Now() // the probe may have waited: from now on, others can
	open, err := h.Store.OpenSessions(ctx)
	if err != nil {
		return nil, err
	}
	expired := w.expired(open, h.carries, now)
	if len(expired) == 0 {
		return nil, nil
	}
	return h.Store.EndExpired(ctx, expired)
}

// carries reports whether the session is this node's: its encoder is here, or
// its end is still to be written.
func (h *Hub) carries(streamID string) bool {
	return h.sessions.stream(streamID) != nil || h.backlog.hasEnd(streamID)
}
