package live

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/ingest"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/transcode"
)

const (
	// ladderWithin is how long Stream Start waits for the renditions, so that
	// the first viewers are offered all of them.
	ladderWithin = 4 * time.Second

	// maxLag is how far transcoding may fall behind before it skips to a newer
	// key frame. Doing so maxSkips times in a minute is falling behind for good.
	maxLag   = 4 * time.Second
	maxSkips = 3

	// maxRuns is how often ffmpeg may fail within a minute of its start, one
	// time after the other, before the broadcast goes on without it.
	maxRuns   = 5
	steadyRun = time.Minute
	firstWait = 250 * time.Millisecond // before ffmpeg is started again; doubles each time

	// flushWithin is how long the end of a broadcast waits for what ffmpeg
	// still has.
	flushWithin = 3 * time.Second
)

// A ladder makes the renditions of one session that are not its source.
type ladder struct {
	pool    *transcode.Pool
	channel ivs.Channel
	stream  *hls.Stream
	source  *hls.Rendition
	log     *slog.Logger
	fail    func(reason string)  // Stream Failure
	refuse  func(why error)      // ends the session: transcoding is required
	killed  func(time.Time) bool // whether a fault on demand kills ffmpeg now

	stills stills

	ring   media.Ring
	ctx    context.Context // of what ladder runs; it ends with stop
	stop   context.CancelFunc
	begin  context.Context // of waits for another run; it ends with the source
	finish context.CancelFunc
	done   chan struct{} // closed when run has returned
	thumb  atomic.Pointer[Thumbnail]
	lost   atomic.Pointer[string] // why the source is shown alone; nil while it is not
	failed int                    // runs, one after the other
	runs   int                    // all runs

	mu        sync.Mutex
	followers []*hls.Rendition // guarded by mu
	used      map[string]int   // guarded by mu; how often a name was given
	settled   bool             // guarded by mu; nothing more is to be waited for
}

// startLadder begins to transcode s, if that is what its channel's type asks
// for. It is called before the first frame; close ends it.
func (s *Session) startLadder(pool *transcode.Pool) {
	if !pool.Enabled() || s.Channel.Type == ivs.TypeBasic {
		return
	}
	l := &ladder{
		pool: pool, channel: s.Channel, stream: s.Stream, source: s.source, log: s.log,
		stills: s.stills(),
		done:   make(chan struct{}), used: map[string]int{},
		fail: func(reason string) {
			s.record(store.Event{Type: ivs.EventStreamState, Name: ivs.StreamFailure, At: time.Now(), Detail: map[string]any{"reason": reason}})
		},
		refuse: func(why error) { s.Cut(ingest.Refuse(ingest.LimitExceeded, why.Error())) },
		killed: func(now time.Time) bool { return s.fault.active(FaultTranscodeFailure, now) },
	}
	l.ctx, l.stop = context.WithCancel(context.Background())
	l.begin, l.finish = context.WithCancel(l.ctx)
	s.ladder = l
	if err := pool.Err(); err != nil {
		l.giveUp(fmt.Errorf("%w: %w", errNotTranscoded, err), "")
		close(l.done)
		return
	}
	go func() {
		defer close(l.done)
		l.run()
	}()
}

// sourceAlone is why viewers get the source alone although the channel's type
// has more; "" where that is not so, or nobody tries.
func (s *Session) sourceAlone() string {
	if s.ladder == nil || s.ladder.lost.Load() == nil {
		return ""
	}
	return *s.ladder.lost.Load()
}

// working tells whether there are renditions, or will be.
func (l *ladder) working() bool {
	if l == nil {
		return false
	}
	select {
	case <-l.done:
		return false
	default:
		return true
	}
}

// write hands a frame of the source over. It never waits.
func (l *ladder) write(f media.Frame) {
	if l != nil {
		l.ring.WriteFrame(f) // it fails when closed, which is at the end
	}
}

// ready tells whether viewers may come: every rendition plays, or there is no
// use in waiting for that.
func (l *ladder) ready(sinceBegin time.Duration) bool {
	if l == nil || sinceBegin > ladderWithin {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.settled {
		return true
	}
	for _, r := range l.followers {
		if !r.Playing() {
			return false
		}
	}
	return len(l.followers) > 0
}

// close ends the renditions in good order. The source has been closed.
func (l *ladder) close() {
	if l == nil {
		return
	}
	l.ring.Close()
	l.finish()
	defer time.AfterFunc(flushWithin, l.stop).Stop()
	<-l.done
	l.stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.followers {
		if err := r.Close(); err != nil {
			l.log.Error("the end of a rendition is lost", "rendition", r.Name(), "error", err)
		}
	}
}

// run transcodes until the source ends, and starts ffmpeg again where it fails.
func (l *ladder) run() {
	changes := 0 // of the source's tracks, each soon after the last
	for {
		in, ok := l.survey()
		if !ok {
			return
		}
		rungs := transcode.Ladder(l.channel.Type, l.channel.Preset, in)
		began := time.Now()
		err := l.transcode(in, rungs)
		switch {
		case l.ctx.Err() != nil || err == nil:
			return
		case l.begin.Err() != nil:
			l.log.Warn("the end of the renditions is lost", "error", err)
			return
		case errors.Is(err, transcode.ErrNewTrack):
			l.log.Info("transcoding begins anew", "reason", err)
			l.interrupt()
			if time.Since(began) > steadyRun {
				changes = 0
			}
			if !l.pause(changes) {
				return
			}
			changes++
			continue
		case errors.Is(err, errNotTranscoded):
			l.giveUp(err, "")
			return
		case errors.Is(err, transcode.ErrCapacity):
			l.giveUp(err, "Transcode capacity exceeded. Please try again.")
			return
		}
		if time.Since(began) > steadyRun {
			l.failed = 0
		}
		if l.failed++; l.failed >= maxRuns {
			l.giveUp(err, "Transcoding failed. Please try again.")
			return
		}
		l.log.Warn("transcoding failed and is tried again", "attempt", l.failed, "error", err)
		l.interrupt()
		if !l.pause(l.failed) {
			return
		}
	}
}

// pause waits before the next run, after so many short ones. It returns false
// where there is to be none.
func (l *ladder) pause(short int) bool {
	if short == 0 {
		return true
	}
	select {
	case <-time.After(firstWait << (min(short, maxRuns) - 1)):
		return true
	case <-l.begin.Done():
		return false
	}
}

// survey finds out what the source sends: its tracks, and how many pictures a
// second where it does not say.
func (l *ladder) survey() (in transcode.Input, ok bool) {
	c := l.ring.Cursor(l.runs > 0)
	defer context.AfterFunc(l.ctx, c.Close)()
	var first, last time.Duration
	pictures := 0
	for {
		f, err := c.ReadFrame()
		if err != nil {
			return in, false
		}
		if !f.Track.IsVideo() {
			in.Audio = true
		} else {
			v := f.Track.Video
			in.Width, in.Height, in.FrameRate = v.Width, v.Height, v.FrameRate
			if last = f.DTS; pictures == 0 {
				first = last
			}
			pictures++
		}
		span := last - first
		if in.FrameRate == 0 && span >= time.Second/2 {
			in.FrameRate = float64(pictures-1) / span.Seconds()
		}
		if in.FrameRate > 0 && (in.Audio || span >= time.Second) {
			return in, true
		}
	}
}

// errNotTranscoded says that the machine cannot, whatever is asked of it.
var errNotTranscoded = errors.New("this server cannot transcode")

// transcode runs ffmpeg once, if the machine has room for it.
func (l *ladder) transcode(in transcode.Input, rungs []transcode.Rung) error {
	release, err := l.pool.Acquire(l.begin, transcode.Cost(rungs, in))
	if err != nil && !errors.Is(err, transcode.ErrCapacity) {
		return fmt.Errorf("%w: %w", errNotTranscoded, err)
	}
	if err != nil {
		return err
	}
	defer release()
	job := l.pool.Job()
	job.Input = in
	job.Rungs, job.Outputs = l.arrange(rungs)
	job.Thumbnails = transcode.NewThumbnails(in, l.stills.every, l.stills.lines)
	job.Thumbnail = func(b []byte) { l.thumb.Store(&Thumbnail{JPEG: b, At: time.Now()}) }
	c := l.ring.Cursor(l.runs > 0)
	c.MaxLag = maxLag
	l.runs++
	ctx, cancel := context.WithCancelCause(l.ctx)
	defer cancel(nil)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		l.watch(ctx, c, cancel)
	}()
	err = job.Run(ctx, c)
	cancel(nil)
	<-watched
	return err
}

// watch ends a run that falls behind again and again, or that a fault on demand
// kills.
func (l *ladder) watch(ctx context.Context, c *media.Cursor, cancel context.CancelCauseFunc) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var base int64
	minute := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			if l.killed(now) {
				cancel(errTranscodeKill)
				return
			}
			_, jumps := c.Skipped()
			if jumps-base >= maxSkips {
				cancel(fmt.Errorf("%w: it fell behind real time by %v, %d times in a minute", transcode.ErrCapacity, maxLag, maxSkips))
				return
			}
			if now.Sub(minute) > time.Minute {
				base, minute = jumps, now
			}
		}
	}
}

// arrange gives each rung a rendition: the one it had, if it had one. Those of
// other rungs are taken away.
func (l *ladder) arrange(rungs []transcode.Rung) (made []transcode.Rung, outputs []media.Writer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.followers
	l.followers = nil
	passed := false
	for _, rung := range rungs {
		if rung.Source {
			passed = true
			continue
		}
		i := slices.IndexFunc(old, func(r *hls.Rendition) bool { return rungName(r) == rung.Name })
		if i >= 0 {
			l.followers = append(l.followers, old[i])
			old = slices.Delete(old, i, i+1)
		} else {
			r := l.stream.AddFollower(l.newNameLocked(rung.Name), rung.AudioOnly())
			r.SetBitRate(rung.Bitrate + rung.AudioBitrate)
			l.followers = append(l.followers, r)
		}
		made = append(made, rung)
		outputs = append(outputs, l.followers[len(l.followers)-1])
	}
	for _, r := range old {
		r.Remove()
	}
	l.source.SetSpare(!passed)
	return made, outputs
}

// newNameLocked is the rung's name; with a number where a rendition had it that
// is gone, since the names of its media must not come again.
func (l *ladder) newNameLocked(rung string) string {
	n := l.used[rung]
	l.used[rung]++
	if n == 0 {
		return rung
	}
	return fmt.Sprintf("%s-%d", rung, n+1)
}

func rungName(r *hls.Rendition) string {
	name, _, _ := strings.Cut(r.Name(), "-")
	return name
}

// interrupt has the renditions go on behind a discontinuity.
func (l *ladder) interrupt() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.followers {
		r.Discontinuity() // fails when closed, and then there is nothing to interrupt
	}
}

// giveUp lets the broadcast go on with its source alone, or ends it where
// transcoding is required.
func (l *ladder) giveUp(err error, reason string) {
	l.log.Warn("NOT TRANSCODED: the source is shown alone", "type", l.channel.Type, "reason", err)
	why := err.Error()
	l.lost.Store(&why)
	if reason != "" {
		l.fail(reason)
	}
	l.ring.Discard()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.followers {
		r.Remove()
	}
	l.followers, l.settled = nil, true
	l.source.SetSpare(false)
	if l.pool.Mode == transcode.Required {
		l.refuse(err)
	}
}
