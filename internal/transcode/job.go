package transcode

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/internal/flv"
	"github.com/millrace/millrace/internal/media"
)

const (
	// stuckAfter is how long ffmpeg may accept input without producing output.
	stuckAfter = 6 * time.Second

	// exitWithin is how long it may take to come to an end after its input.
	exitWithin = 10 * time.Second

	// foreign is how far a frame's time may lie outside of what was given to
	// be transcoded.
	foreign = 2 * time.Second

	maxSaid = 4 << 10 // bytes of what ffmpeg says that are kept
)

var (
	errStuck   = errors.New("ffmpeg stalled: no output")
	errGarbage = errors.New("unexpected output from ffmpeg")

	// ErrNewTrack is the error of Run if the broadcast's video or audio has changed: a
	// new Job is needed.
	ErrNewTrack = errors.New("video or audio of the broadcast has changed")
)

// A Job is one run of ffmpeg for one broadcast.
type Job struct {
	FFmpeg  string
	Encoder Encoder
	Folder  string // where its working folder is made; "" means the system's

	Input   Input
	Rungs   []Rung         // to be made; none with Source
	Outputs []media.Writer // one for each rung; each is written to by its own goroutine

	Thumbnails Thumbnails
	Thumbnail  func(jpeg []byte, dts time.Duration) // called with each image, which it may keep, and with its time

	// The run's own.
	stdin    *os.File
	pipes    []*os.File // of rungs and thumbnails, to be read
	said     head
	first    atomic.Int64   // DTS of the first frame that was given
	given    atomic.Int64   // the latest DTS that was given
	givenAt  atomic.Int64   // when the last frame was begun to be given, Unix nanoseconds
	giving   atomic.Bool    // a frame is being given
	endedAt  atomic.Int64   // when src ended, Unix nanoseconds; 0 before
	returned []atomic.Int64 // when each rung last came back
}

// Run passes the frames of src to ffmpeg and its results to the outputs, until src ends,
// ffmpeg exits, or ctx is done. It returns nil if src ended and all results were passed
// on, and ErrNewTrack if src's tracks have changed. No process outlives it.
func (j *Job) Run(ctx context.Context, src media.Reader) error {
	// The death signal of a process comes when the thread that started it
	// ends (prctl(2), PR_SET_PDEATHSIG): this one stays.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	folder, err := os.MkdirTemp(j.Folder, "transcode-")
	if err != nil {
		return fmt.Errorf("working folder of ffmpeg: %w", err)
	}
	defer os.RemoveAll(folder)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	p, err := j.start(ctx, folder)
	if err != nil {
		return err
	}
	defer j.close()
	g := &errgroup.Group{}
	for i := range j.Rungs {
		g.Go(func() error { return j.fail(cancel, j.read(i)) })
	}
	if j.Thumbnails.Interval > 0 {
		g.Go(func() error { return j.fail(cancel, j.readThumbnails(j.pipes[len(j.Rungs)])) })
	}
	g.Go(func() error { return j.fail(cancel, j.give(src)) })
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		j.watch(ctx, cancel)
	}()
	exit := p.Wait()
	j.stdin.Close() // a blocked writer returns now
	if exit != nil {
		exit = fmt.Errorf("ffmpeg: %w: %s", exit, firstLine(j.said.bytes()))
	}
	cancel(exit)
	closeReader(src)
	runErr := g.Wait()
	<-watched
	cause := context.Cause(ctx)
	switch {
	case errors.Is(cause, context.Canceled) && exit == nil && runErr == nil:
		return nil
	case cause != nil && !errors.Is(cause, context.Canceled):
		return cause
	}
	return errors.Join(exit, runErr)
}

// closeReader ends a ReadFrame that waits, where src has a Close.
func closeReader(src media.Reader) {
	if c, ok := src.(interface{ Close() }); ok {
		c.Close()
	}
}

// fail ends the run for err.
func (j *Job) fail(cancel context.CancelCauseFunc, err error) error {
	if err != nil {
		cancel(err)
	}
	return err
}

// start runs ffmpeg with all its pipes.
func (j *Job) start(ctx context.Context, folder string) (p *exec.Cmd, err error) {
	p = exec.CommandContext(ctx, j.FFmpeg, j.args()...)
	p.Dir, p.Env = folder, environment()
	p.Stderr = &j.said
	p.WaitDelay = time.Second
	var theirs []*os.File
	defer func() {
		for _, f := range theirs {
			f.Close()
		}
		if err != nil {
			j.close()
		}
	}()
	stdin, ours, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("pipe to ffmpeg: %w", err)
	}
	j.stdin, p.Stdin, theirs = ours, stdin, append(theirs, stdin)
	for n := len(j.Rungs) + b2i(j.Thumbnails.Interval > 0); len(j.pipes) < n; {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, fmt.Errorf("pipe from ffmpeg: %w", err)
		}
		j.pipes, theirs = append(j.pipes, r), append(theirs, w)
		p.ExtraFiles = append(p.ExtraFiles, w)
	}
	now := time.Now()
	j.returned = make([]atomic.Int64, len(j.Rungs))
	j.reset(now)
	j.givenAt.Store(now.UnixNano())
	if err := startConfined(p); err != nil {
		return nil, fmt.Errorf("start %s: %w", j.FFmpeg, err)
	}
	return p, nil
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (j *Job) close() {
	if j.stdin != nil {
		j.stdin.Close()
	}
	for _, f := range j.pipes {
		f.Close()
	}
}

// give writes the broadcast to ffmpeg until the broadcast ends, which ends ffmpeg too. It
// does not report that the pipe was closed: ffmpeg's exit status says why.
func (j *Job) give(src media.Reader) error {
	defer j.stdin.Close()
	w := flv.NewWriter(j.stdin)
	w.VideoOnly = !j.Input.Audio
	var video, audio *media.Track
	started := false
	keys := keyFrames{frame: time.Duration(float64(time.Second) / j.Input.rate())}
	for {
		asked := time.Now()
		f, err := src.ReadFrame()
		if err != nil {
			j.endedAt.Store(time.Now().UnixNano())
			return nil
		}
		if now := time.Now(); now.Sub(asked) > time.Second {
			j.reset(now)
		}
		track := &audio
		if f.Track.IsVideo() {
			track = &video
		} else if !j.Input.Audio {
			return ErrNewTrack
		}
		if *track != nil && !(*track).Decodes(f.Track) {
			return ErrNewTrack
		}
		*track = f.Track
		if !started {
			j.first.Store(int64(f.DTS))
			started = true
		}
		j.given.Store(max(j.given.Load(), int64(f.DTS)))
		j.givenAt.Store(time.Now().UnixNano())
		j.giving.Store(true)
		err = w.WriteFrame(keys.mark(f))
		j.giving.Store(false)
		if err != nil {
			return nil
		}
	}
}

// reset restarts the stall timers of all rungs after a pause of the input.
func (j *Job) reset(now time.Time) {
	for i := range j.returned {
		j.returned[i].Store(now.UnixNano())
	}
}

// readThumbnails hands on the images, of which there is one each interval from the
// first frame on.
func (j *Job) readThumbnails(pipe io.Reader) error {
	n := time.Duration(0)
	return readJPEGs(pipe, func(jpeg []byte) {
		j.Thumbnail(jpeg, time.Duration(j.first.Load())+n*j.Thumbnails.Interval)
		n++
	})
}

// read hands what comes back of rung i to its output.
func (j *Job) read(i int) error {
	r := flv.NewReader(j.pipes[i])
	for {
		f, err := r.ReadFrame()
		if err != nil {
			if endOfPipe(err) {
				return nil // the exit status says how ffmpeg ended
			}
			return fmt.Errorf("rung %s: %w: %w", j.Rungs[i].Name, errGarbage, err)
		}
		if from, to := time.Duration(j.first.Load())-foreign, time.Duration(j.given.Load())+foreign; f.DTS < from || f.DTS > to {
			return fmt.Errorf("rung %s: %w: a frame at %v, between %v and %v were given", j.Rungs[i].Name, errGarbage, f.DTS, from, to)
		}
		j.returned[i].Store(time.Now().UnixNano())
		if err := j.Outputs[i].WriteFrame(f); err != nil {
			return fmt.Errorf("rung %s: %w", j.Rungs[i].Name, err)
		}
	}
}

// watch kills an ffmpeg that takes what it is given, or does not even take it,
// and gives nothing back.
func (j *Job) watch(ctx context.Context, cancel context.CancelCauseFunc) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			if ended := j.endedAt.Load(); ended > 0 && now.Sub(time.Unix(0, ended)) > exitWithin {
				cancel(fmt.Errorf("%w: it did not end within %v of its input", errStuck, exitWithin))
			} else if i, stuck := j.stuck(now); stuck {
				cancel(fmt.Errorf("rung %s: %w for %v", j.Rungs[i].Name, errStuck, stuckAfter))
			}
		}
	}
}

// stuck reports whether a rung has not come back although ffmpeg was given
// something since.
func (j *Job) stuck(now time.Time) (rung int, stuck bool) {
	given := time.Unix(0, j.givenAt.Load())
	if j.giving.Load() {
		given = now
	}
	for i := range j.returned {
		if given.Sub(time.Unix(0, j.returned[i].Load())) > stuckAfter {
			return i, true
		}
	}
	return 0, false
}

// endOfPipe reports whether reading ended because ffmpeg has gone, or its last
// frame was cut short by that.
func endOfPipe(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, os.ErrClosed)
}

// environment returns the environment variables that ffmpeg and the drivers of encoders
// need.
func environment() (env []string) {
	for _, name := range []string{"PATH", "LD_LIBRARY_PATH", "LIBVA_DRIVER_NAME", "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return append(env, "AV_LOG_FORCE_NOCOLOR=1")
}
