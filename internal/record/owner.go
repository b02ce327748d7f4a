package record

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/bucket"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/lease"
	"github.com/millrace/millrace/internal/store"
)

const (
	// ownerGone is for how long a node that has recordings may be silent: it may
	// start again, with what its spool still has of them.
	ownerGone = 2 * time.Minute

	// passTime is how long it may take to have a recording of another node continue with
	// the channel's next stream, whose first segments are in the window for longer.
	passTime = 15 * time.Second

	// readTime is the part of passTime within which the bucket must show that this node
	// can read it. At least as much is left to read the recording.
	readTime = 3 * time.Second

	// returnTime is the part of passTime for which a lost node must stay silent: if it
	// starts again, its spool has the media that is not in the bucket yet.
	returnTime = 10 * time.Second

	passPoll = 200 * time.Millisecond // how often the other node's answer is looked for
	wantPoll = time.Second            // how often this node looks whether another one wants a recording
)

// An ownerWatch judges the nodes that have recordings, other than this one, by whether
// their registrations change. The zero ownerWatch is ready.
type ownerWatch struct {
	mu     sync.Mutex
	watch  lease.Watch[store.RecordingOwner] // guarded by mu; by name
	owners []store.RecordingOwner            // guarded by mu; at the last look
	first  map[string]int64                  // guarded by mu; by name, the epoch that was seen first
}

// look compares the owners in the database with those of the last look. every is the
// longest time between two calls.
func (w *ownerWatch) look(owners []store.RecordingOwner, now time.Time, every time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen, first := map[string]store.RecordingOwner{}, map[string]int64{}
	for _, o := range owners {
		seen[o.Name] = o
	}
	suspended := w.watch.Look(seen, now, 2*every)
	for _, o := range owners {
		first[o.Name] = o.Epoch
		if epoch, known := w.first[o.Name]; known && !suspended {
			first[o.Name] = epoch
		}
	}
	w.owners, w.first = slices.Clone(owners), first
}

// silent returns the owners that have not changed for d.
func (w *ownerWatch) silent(d time.Duration) (owners []store.RecordingOwner) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, o := range w.owners {
		if w.watch.Silent(o.Name) >= d {
			owners = append(owners, o)
		}
	}
	return owners
}

// again reports whether an owner has started again while it was watched.
func (w *ownerWatch) again(name string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.owners, func(o store.RecordingOwner) bool { return o.Name == name && o.Epoch != w.first[name] })
}

func (r *Recorder) ownerGone() time.Duration { return cmp.Or(r.OwnerGone, ownerGone) }

// watchOwners ends the recordings of nodes that are gone, until ctx is done.
func (r *Recorder) watchOwners(ctx context.Context) {
	tick := time.NewTicker(r.ownerGone() / 24)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if err := r.lookForOwners(ctx); err != nil && ctx.Err() == nil {
			r.Log.Error("looking for recordings of nodes that are gone failed", "error", err)
		}
	}
}

// watchWants looks for recordings that other nodes want, while any waits for a
// stream, until ctx is done.
func (r *Recorder) watchWants(ctx context.Context) {
	tick := time.NewTicker(wantPoll)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		waiting := r.recordings()
		waiting = slices.DeleteFunc(waiting, func(c *recording) bool { return !c.idleStream() })
		if len(waiting) == 0 {
			continue
		}
		wanted, err := r.Store.WantedRecordings(ctx, r.Owner)
		if err != nil && ctx.Err() == nil {
			r.Log.Error("looking for recordings that other nodes want failed", "error", err)
		}
		for _, c := range waiting {
			if node := wanted[c.ID]; node != "" {
				c.want(node)
			}
		}
	}
}

func (r *Recorder) lookForOwners(ctx context.Context) error {
	owners, err := r.Store.RecordingOwners(ctx, r.Owner)
	if err != nil {
		return err
	}
	if len(owners) > 0 {
		if err := r.Store.ProbeWrite(ctx); err != nil { // no other node can write a heartbeat either
			return err
		}
	}
	r.owners.look(owners, time.Now(), r.ownerGone()/6) // a slow database must not prevent recordings from being ended
	for _, o := range r.owners.silent(r.ownerGone()) {
		if err := r.takeFrom(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

// takeFrom takes the recordings of a node that is gone whose windows are over:
// until then the stream that continues one may come to any node.
func (r *Recorder) takeFrom(ctx context.Context, o store.RecordingOwner) error {
	rows, err := r.Store.OpenRecordings(ctx, o.Name)
	if err != nil {
		return err
	}
	for _, row := range rows {
		m, _, err := r.manifestOf(ctx, row)
		open := false
		if err == nil {
			open, err = r.windowOpen(ctx, m, time.Now())
		}
		if err != nil && !ivs.Is(err, ivs.NotFound) { // its streams are too old to be kept
			return err
		}
		if open {
			continue
		}
		taken, err := r.Store.TakeRecordings(ctx, o, row.ChannelARN, r.Owner)
		if err != nil {
			return err
		}
		for _, row := range taken {
			r.Log.Warn("taking over the recording of a node that is gone", "channel", row.ChannelARN, "recording", row.Prefix, "node", o.Name)
			row.Owner = o.Name
			if err := r.do(ctx, func(ctx context.Context) { r.adopt(ctx, row) }); err != nil {
				return err
			}
		}
	}
	return nil
}

// windowOpen reports whether a recording of another node waits for a stream that begins
// at a time of this node's clock. The database says how long ago its last stream ended,
// since the clock of that node may be wrong.
func (r *Recorder) windowOpen(ctx context.Context, m manifest, begin time.Time) (bool, error) {
	since, ended, err := r.Store.SinceEnd(ctx, m.Streams[len(m.Streams)-1])
	return ended && m.window() > 0 && since-time.Since(begin) <= m.window(), err
}

// adopt ends a recording of which this node has nothing in its spool, with what is in its
// bucket. It waits for a bucket that does not answer; for one that refuses, it waits as
// long as other recordings do.
func (r *Recorder) adopt(ctx context.Context, row store.Recording) {
	var refused time.Time // since when the bucket refuses; zero if it does not
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		u, err := r.takeUp(ctx, row, true)
		if err == nil {
			r.finish(ctx, u)
			return
		}
		if ctx.Err() != nil {
			return
		}
		r.Log.Error("a recording that this node has not begun cannot be ended", "channel", row.ChannelARN, "recording", row.Prefix, "error", err)
		switch {
		case !bucket.Refused(err) && !errors.Is(err, bucket.ErrNotFound):
			refused = time.Time{}
		case refused.IsZero():
			refused = time.Now()
		}
		if ivs.Is(err, ivs.NotFound) || !refused.IsZero() && time.Since(refused) >= r.patience() {
			r.failures.Add(1)
			result := store.RecordingResult{Failure: fmt.Sprintf("node %s is gone, and what it has recorded cannot be read: %v", row.Owner, err), Renditions: []store.RecordedRendition{}}
			if err = r.Store.EndRecording(ctx, row.ID, r.Owner, time.Now(), result, reasonInternal); err == nil {
				return
			}
		}
		sleep(ctx, pause)
	}
}

// takeUp makes a recording from what is in its bucket. If final, it is to end when its
// window is over.
func (r *Recorder) takeUp(ctx context.Context, row store.Recording, final bool) (*uploader, error) {
	if err := r.restore(ctx, row, final); err != nil {
		_ = os.RemoveAll(filepath.Join(r.Folder, row.ID)) // the next attempt makes it again, or the recording is given up
		return nil, err
	}
	u, err := r.load(row)
	if err != nil {
		return nil, err
	}
	if final {
		u.refuseStreams()
	}
	return u, nil
}

// claimElsewhere returns a recording of another node that a session's stream goes
// into, with an uploader that runs; nil if there is none.
func (r *Recorder) claimElsewhere(ctx context.Context, s *source, session ivs.StreamSession) *recording {
	row, m, ok := r.findElsewhere(ctx, s, session)
	if !ok {
		return nil
	}
	log := r.Log.With("channel", row.ChannelARN, "recording", row.Prefix, "stream", session.StreamID, "node", row.Owner)
	if reason := m.differs(session, time.Now()); reason != "" {
		log.Info("recording of another node does not continue with the next stream", "reason", reason)
		return nil
	}
	began := time.Now()
	if err := retryUntil(ctx, began.Add(readTime), func(ctx context.Context) error { return r.findRecording(ctx, row) }); err != nil {
		log.Warn("recording does not continue with the next stream: this node cannot read it", "error", err)
		return nil // the other node, which may be running, ends it
	}
	if row, ok = r.obtain(ctx, row, began.Add(passTime-readTime)); !ok {
		log.Warn("recording does not continue with the next stream: the other node has not passed it on")
		return nil
	}
	u, err := r.takeUpBefore(ctx, row, began.Add(passTime))
	if err != nil {
		log.Error("recording does not continue with the next stream: what is in the bucket cannot be read", "error", err)
		_ = r.do(ctx, func(ctx context.Context) { r.adopt(ctx, row) }) // or at the next start
		return nil
	}
	resumed := u.resume(session, time.Now())
	if r.do(ctx, func(ctx context.Context) { r.finish(ctx, u) }) != nil || !resumed {
		return nil
	}
	log.Info("recording continues with a stream of this node")
	return u.recording
}

// takeUpBefore is takeUp for a waiting stream, whose first segments leave the window
// after the deadline.
func (r *Recorder) takeUpBefore(ctx context.Context, row store.Recording, deadline time.Time) (u *uploader, err error) {
	err = retryUntil(ctx, deadline, func(ctx context.Context) error {
		u, err = r.takeUp(ctx, row, false)
		return err
	})
	return u, err
}

// retryUntil calls f until it succeeds, or until the deadline, which its context has: a
// bucket may be unreachable for a moment, or not answer.
func retryUntil(ctx context.Context, deadline time.Time, f func(context.Context) error) error {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	for {
		err := f(ctx)
		if err == nil {
			return nil
		}
		if sleep(ctx, passPoll); ctx.Err() != nil {
			return err
		}
	}
}

// findElsewhere returns the recording of another node that waits for the next stream
// of a session's channel. A database that does not answer is no reason for a new
// recording while the stream lives.
func (r *Recorder) findElsewhere(ctx context.Context, s *source, session ivs.StreamSession) (row store.Recording, m manifest, ok bool) {
	err := s.retry(ctx, func() error {
		ok = false
		found, open, err := r.Store.OpenRecording(ctx, session.Channel.ARN)
		if err == nil && open && found.Owner != r.Owner {
			row = found
			if m, _, err = r.manifestOf(ctx, row); err == nil {
				ok, err = r.windowOpen(ctx, m, session.StartTime.Time)
			}
			if ivs.Is(err, ivs.NotFound) { // its streams are too old to be kept
				return nil
			}
		}
		if err != nil {
			r.Log.Warn("looking for a recording of another node failed; retrying", "channel", session.Channel.ARN, "error", err)
		}
		return err
	})
	return row, m, ok && err == nil
}

// obtain has the owner of a recording pass it on to this node, or takes it from
// one that is gone, before the deadline. It returns the row as that owner has left it,
// with its name.
func (r *Recorder) obtain(ctx context.Context, row store.Recording, deadline time.Time) (store.Recording, bool) {
	left := row
	owns := func() (owns, open bool) {
		now, open, err := r.Store.OpenRecording(ctx, row.ChannelARN)
		if owns = err == nil && open && now.ID == row.ID && now.Owner == r.Owner; owns {
			left = now
			left.Owner = row.Owner
		}
		return owns, err != nil || open && now.ID == row.ID
	}
	wanted := false
	var watch ownerWatch
	for time.Now().Before(deadline) && ctx.Err() == nil {
		wanted = wanted || r.Store.WantRecording(ctx, row.ID, r.Owner) == nil
		if mine, open := owns(); mine || !open {
			return left, mine
		}
		if r.takeFromLost(ctx, row, &watch, time.Now()) {
			continue
		}
		sleep(ctx, passPoll)
	}
	if err := r.Store.ForgoRecording(context.WithoutCancel(ctx), row.ID, r.Owner); err != nil {
		r.Log.Warn("withdrawing the request for a recording of another node failed", "recording", row.Prefix, "error", err)
	}
	mine, _ := owns() // it may have been passed on in the last moment
	return left, mine
}

// takeFromLost takes a recording from its owner if that node has been silent for long, or
// if it is known to be lost, has been silent for returnTime, and has not started again. A
// node that starts again uploads what its spool has, and passes the recording on, however
// long its first heartbeat takes.
func (r *Recorder) takeFromLost(ctx context.Context, row store.Recording, watch *ownerWatch, now time.Time) bool {
	owners, err := r.Store.RecordingOwners(ctx, r.Owner)
	if err != nil {
		return false
	}
	watch.look(owners, now, passTime)
	silent := r.owners.silent(min(store.NodeLease, r.ownerGone()))
	if r.OwnerLost != nil && r.OwnerLost(row.Owner) && !watch.again(row.Owner) {
		silent = append(silent, watch.silent(returnTime)...)
	}
	for _, o := range silent {
		if o.Name != row.Owner {
			continue
		}
		if taken, err := r.Store.TakeRecordings(ctx, o, row.ChannelARN, r.Owner); err == nil && len(taken) > 0 {
			return true
		}
	}
	return false
}
