// Package transcode makes the renditions of a broadcast that differ from what
// the encoder sends: which ones a channel shows (Ladder), and one ffmpeg process
// that makes them all (Job). The process reads FLV from memory and writes FLV
// into memory; times and key frames of what it writes are those of what it
// reads, so that renditions line up with their source.
package transcode

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"runtime"
	"sync"
)

// Modes of a Pool.
const (
	Auto     = "auto"     // transcode where that is possible
	Off      = "off"      // show the source alone
	Required = "required" // refuse to work without
)

// ErrCapacity is why a broadcast is not transcoded: the machine has enough to
// do.
var ErrCapacity = errors.New("transcode capacity exceeded")

// A Pool is what this machine can transcode. Its exported fields are set before
// Start.
type Pool struct {
	Mode     string // Auto, Off or Required; "" means Off
	Name     string // of the encoder; "" means DefaultEncoder
	FFmpeg   string // path or name; "" means ffmpeg
	Folder   string // where working folders are made; "" means the system's
	Log      *slog.Logger
	Capacity float64 // ladders of 1280x720 at 30 frames a second at once; 0 means as measured by Start

	ready chan struct{} // closed by Start

	mu      sync.Mutex
	encoder Encoder // guarded by mu
	err     error   // guarded by mu; why nothing can be transcoded
	limit   float64 // guarded by mu
	used    float64 // guarded by mu
}

// ffmpeg is the program to run.
func (p *Pool) ffmpeg() string {
	if p.FFmpeg == "" {
		return "ffmpeg"
	}
	return p.FFmpeg
}

// Check finds what is wrong with the settings and the machine without running
// anything. With Auto a missing ffmpeg is no error here.
func (p *Pool) Check() error {
	p.ready = make(chan struct{})
	if !p.Enabled() {
		p.err = errors.New("transcoding is off (--transcode off)")
		close(p.ready)
		return nil
	}
	var err error
	if p.encoder, err = EncoderNamed(p.Name); err != nil {
		return err
	}
	if _, err := exec.LookPath(p.ffmpeg()); err != nil && p.Mode == Required {
		return fmt.Errorf("transcoding needs ffmpeg: %w", err)
	}
	return nil
}

// Start tries the encoder and measures the machine. Until it returns, Acquire
// waits. What does not work is said in the log; with Required, or an encoder
// that somebody chose, it is an error.
func (p *Pool) Start(ctx context.Context) error {
	if !p.Enabled() {
		p.warn(p.err)
		return nil
	}
	defer close(p.ready)
	limit, err := p.measure(ctx)
	p.mu.Lock()
	p.limit, p.err = limit, err
	p.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return nil
	case err != nil && p.Mode == Required:
		return fmt.Errorf("transcoding is required and does not work: %w", err)
	case err != nil && p.encoder.Name != DefaultEncoder:
		return fmt.Errorf("--encoder %s does not work here (millrace encoders lists what does): %w", p.encoder.Name, err)
	case err != nil:
		p.warn(err)
	default:
		p.Log.Info("transcoding", "encoder", p.encoder.Name, "capacity", fmt.Sprintf("%.1f ladders of 720p30", limit))
	}
	return nil
}

func (p *Pool) warn(err error) {
	p.Log.Warn("NOTHING IS TRANSCODED: every channel shows the source alone, whatever its type", "reason", err)
}

// Err is why nothing can be transcoded here; nil where it can, or nobody knows
// yet.
func (p *Pool) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

func (p *Pool) measure(ctx context.Context) (float64, error) {
	if p.Capacity > 0 {
		return p.Capacity, p.encoder.Check(ctx, p.ffmpeg())
	}
	return p.encoder.Measure(ctx, p.ffmpeg(), runtime.NumCPU())
}

// Acquire takes cost, as Cost reckons, of the machine. The error is ErrCapacity
// where too little is left. release gives it back and may be called once.
func (p *Pool) Acquire(ctx context.Context, cost float64) (release func(), err error) {
	select {
	case <-p.ready: // whatever ctx says
	default:
		select {
		case <-p.ready:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return nil, p.err
	}
	if p.used+cost > p.limit {
		return nil, fmt.Errorf("%w: %.1f of %.1f are in use, this broadcast needs %.1f", ErrCapacity, p.used, p.limit, cost)
	}
	p.used += cost
	return func() {
		p.mu.Lock()
		p.used -= cost
		p.mu.Unlock()
	}, nil
}

// Enabled tells whether broadcasts shall be transcoded at all.
func (p *Pool) Enabled() bool { return p != nil && p.Mode != Off && p.Mode != "" }

// Job returns a job for the encoder of the pool; rungs, outputs and input are
// the caller's to fill in.
func (p *Pool) Job() *Job {
	return &Job{FFmpeg: p.ffmpeg(), Encoder: p.encoder, Folder: p.Folder}
}
