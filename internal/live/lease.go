package live

import (
	"context"
	"time"

	"github.com/millrace/millrace/internal/lease"
	"github.com/millrace/millrace/internal/store"
)

const (
	renewEvery   = 5 * time.Second  // how often the leases of this node's sessions are renewed
	sessionLease = 15 * time.Second // a session's lease that is not renewed for so long has expired
)

// expired returns those of the open sessions of other nodes whose leases have expired:
// this node has watched each for sessionLease, and its number of renewals has not
// changed. now is the time before they were read. It is called with every renewal.
func expired(w *lease.Watch[int64], open []store.OpenSession, owned func(streamID string) bool, now time.Time) (expired []store.OpenSession) {
	renewals := map[string]int64{}
	for _, s := range open {
		if !owned(s.StreamID) {
			renewals[s.StreamID] = s.Renewals
		}
	}
	w.Look(renewals, now, 2*renewEvery)
	for _, s := range open {
		if w.Silent(s.StreamID) >= sessionLease {
			expired = append(expired, s)
		}
	}
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
func (h *Hub) endExpired(ctx context.Context, w *lease.Watch[int64]) {
	ctx, cancel := context.WithTimeout(ctx, dbTimeout)
	defer cancel()
	ended, err := h.tryEndExpired(ctx, w)
	for _, id := range ended {
		h.Log.Warn("ended a session whose lease has expired: its node has not renewed it", "stream", id, "lease", sessionLease)
	}
	if err != nil {
		w.Forget() // renewals may have failed, too
		h.Log.Error("looking for sessions whose leases have expired failed: they are watched for a full lease again", "error", err)
	}
}

func (h *Hub) tryEndExpired(ctx context.Context, w *lease.Watch[int64]) (ended []string, err error) {
	if err := h.Store.ProbeWrite(ctx); err != nil {
		return nil, err // no other node can renew a lease now
	}
	now := time.Now() // the probe may have waited: other nodes can renew leases from now on
	open, err := h.Store.OpenSessions(ctx)
	if err != nil {
		return nil, err
	}
	dead := expired(w, open, h.ownsSession, now)
	if len(dead) == 0 {
		return nil, nil
	}
	return h.Store.EndExpired(ctx, dead)
}

// ownsSession reports whether the session is this node's: its encoder is here, or
// its end is still to be written.
func (h *Hub) ownsSession(streamID string) bool {
	return h.sessions.stream(streamID) != nil || h.backlog.hasEnd(streamID)
}
