package transcode

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/internal/broadcast"
	"github.com/millrace/millrace/internal/media"
)

const (
	// maxLag is how far transcoding may fall behind before it skips to a newer key frame.
	// If it skips maxSkips times within a minute, it cannot keep up.
	maxLag   = 4 * time.Second
	maxSkips = 3

	// maxRuns is how many times in a row ffmpeg may fail within a minute of its start
	// before the broadcast continues without it.
	maxRuns   = 5
	steadyRun = time.Minute
	firstWait = 250 * time.Millisecond // before ffmpeg is started again; doubles each time
)

// Errors with which a Ladder gives up, besides ErrCapacity.
var (
	ErrUnavailable = errors.New("this server cannot transcode")
	ErrFailed      = errors.New("ffmpeg fails again and again")
)

// errKilled ends a run by Kill.
var errKilled = errors.New("fault on demand: ffmpeg is killed")

// A Ladder makes the renditions of one broadcast. It implements broadcast.Renditions with
// one ffmpeg at a time, which is restarted when it fails. Its exported fields must be set
// before Run.
type Ladder struct {
	Pool        *Pool
	Kind        Kind
	Constrained bool // with lower bit rates
	Thumbnails  ThumbnailSettings
	Log         *slog.Logger

	killUntil atomic.Int64 // Unix nanoseconds
}

// ThumbnailSettings say how often a broadcast gets a thumbnail, and its maximum size.
type ThumbnailSettings struct {
	Interval time.Duration
	Lines    int // lines of its frame; 0 means those of the source
}

// Kill kills the running ffmpeg, and each one started until then.
func (l *Ladder) Kill(until time.Time) { l.killUntil.Store(until.UnixNano()) }

// Run transcodes until source ends or ctx is done, and restarts ffmpeg when it fails. The
// error says why it has given up: ErrCapacity, ErrUnavailable or ErrFailed.
func (l *Ladder) Run(ctx context.Context, source *media.Ring, out *broadcast.Outputs) error {
	if err := l.Pool.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	r := run{Ladder: l, source: source, out: out}
	for {
		in, ok := r.survey(ctx)
		if !ok {
			return nil
		}
		began := time.Now()
		err := r.once(ctx, in)
		if time.Since(began) > steadyRun {
			r.failed, r.changes = 0, 0
		}
		switch {
		case ctx.Err() != nil || err == nil:
			return nil
		case closed(source.Done()):
			l.Log.Warn("writing the end of the renditions failed", "error", err)
			return nil
		case errors.Is(err, ErrUnavailable), errors.Is(err, ErrCapacity):
			return err
		case errors.Is(err, ErrNewTrack):
			l.Log.Info("transcoding restarts", "reason", err)
			out.Interrupt()
			if !r.pause(ctx, r.changes) {
				return nil
			}
			r.changes++
			continue
		}
		if r.failed++; r.failed >= maxRuns {
			return fmt.Errorf("%w: %w", ErrFailed, err)
		}
		l.Log.Warn("transcoding failed; retrying", "attempt", r.failed, "error", err)
		out.Interrupt()
		if !r.pause(ctx, r.failed) {
			return nil
		}
	}
}

// A run is the state that Ladder.Run keeps from one ffmpeg process to the next.
type run struct {
	*Ladder
	source  *media.Ring
	out     *broadcast.Outputs
	again   bool // ffmpeg was started before
	failed  int  // runs, one after the other
	changes int  // of the source's tracks, each soon after the last
}

// pause waits before the next ffmpeg, after so many that did not last. It returns
// false where there is to be none.
func (r *run) pause(ctx context.Context, short int) bool {
	if short == 0 {
		return true
	}
	select {
	case <-time.After(firstWait << (min(short, maxRuns) - 1)):
		return true
	case <-r.source.Done():
	case <-ctx.Done():
	}
	return false
}

// once runs ffmpeg once, if the machine has capacity for it. It returns nil when
// the source has ended and everything has come back.
func (r *run) once(ctx context.Context, in Input) error {
	rungs := Rungs(r.Kind, r.Constrained, in)
	select {
	case <-r.Pool.measured:
	case <-r.source.Done():
		return nil
	case <-ctx.Done():
		return nil
	}
	release, err := r.Pool.acquire(Cost(rungs, in))
	if err != nil && !errors.Is(err, ErrCapacity) {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if err != nil {
		return err
	}
	defer release()
	job := r.Pool.job()
	job.Input = in
	job.Rungs, job.Outputs = r.outputs(rungs)
	job.Thumbnails = NewThumbnails(in, r.Thumbnails.Interval, r.Thumbnails.Lines)
	job.Thumbnail = r.out.SetThumbnail
	c := r.source.Cursor(r.again)
	c.MaxLag = maxLag
	r.again = true
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		r.watch(ctx, c, cancel)
	}()
	err = job.Run(ctx, c)
	cancel(nil)
	<-watched
	return err
}

// survey finds out what the source sends: its tracks, and its frame rate where
// the encoder does not say. It is not ok when the source has ended.
func (r *run) survey(ctx context.Context) (in Input, ok bool) {
	c := r.source.Cursor(r.again)
	defer context.AfterFunc(ctx, c.Close)()
	var first, last time.Duration
	frames := 0 // of video
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
			if last = f.DTS; frames == 0 {
				first = last
			}
			frames++
		}
		span := last - first
		if in.FrameRate == 0 && span >= time.Second/2 {
			in.FrameRate = float64(frames-1) / span.Seconds()
		}
		if in.FrameRate > 0 && (in.Audio || span >= time.Second) {
			return in, true
		}
	}
}

// outputs are the rungs that ffmpeg makes, and where each of them goes.
func (r *run) outputs(rungs []Rung) (made []Rung, writers []media.Writer) {
	var outputs []broadcast.Output
	showSource := false
	for _, rung := range rungs {
		if rung.Source {
			showSource = true
			continue
		}
		made = append(made, rung)
		outputs = append(outputs, broadcast.Output{Label: rung.Name, AudioOnly: rung.AudioOnly(), Bitrate: rung.Bitrate + rung.AudioBitrate})
	}
	return made, r.out.Set(outputs, showSource)
}

// watch ends a run that falls behind again and again, or that Kill kills.
func (r *run) watch(ctx context.Context, c *media.Cursor, cancel context.CancelCauseFunc) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var base int64
	minute := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			if now.UnixNano() < r.killUntil.Load() {
				cancel(errKilled)
				return
			}
			_, jumps := c.Skipped()
			if jumps-base >= maxSkips {
				cancel(fmt.Errorf("%w: it fell behind real time by %v, %d times in a minute", ErrCapacity, maxLag, maxSkips))
				return
			}
			if now.Sub(minute) > time.Minute {
				base, minute = jumps, now
			}
		}
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
