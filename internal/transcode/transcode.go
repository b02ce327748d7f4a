// Package transcode makes the renditions of a broadcast that differ from what
// the encoder sends: which ones a channel shows (Rungs), one ffmpeg process that
// makes them all (Job), and what starts it again or gives up (Ladder). The
// process reads FLV from memory and writes FLV into memory; times and key frames
// of what it writes are those of what it reads, so that renditions line up with
// their source.
package transcode

import (
	"cmp"
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

// ErrCapacity is the error if a broadcast is not transcoded because the machine is busy.
var ErrCapacity = errors.New("transcode capacity exceeded")

// Settings are the settings of a Pool.
type Settings struct {
	Mode     string  // Auto, Off or Required; "" means Off
	Encoder  string  // its name; "" means DefaultEncoder
	FFmpeg   string  // path or name; "" means ffmpeg
	Folder   string  // where working folders are made; "" means the system's
	Capacity float64 // ladders of 1280x720 at 30 frames per second at the same time; 0 means as measured
	Log      *slog.Logger
}

// A Pool is the capacity of this machine to transcode.
type Pool struct {
	settings Settings
	encoder  Encoder
	measured chan struct{} // closed when limit and err are known

	mu    sync.Mutex
	err   error   // guarded by mu; why nothing can be transcoded
	limit float64 // guarded by mu
	used  float64 // guarded by mu
}

// NewPool returns a pool with those settings, whose capacity is set by Measure. It fails
// if the settings name an unknown encoder, and with Required if there is no ffmpeg. It
// runs nothing.
func NewPool(s Settings) (*Pool, error) {
	s.FFmpeg = cmp.Or(s.FFmpeg, "ffmpeg")
	p := &Pool{settings: s, measured: make(chan struct{})}
	if !p.Enabled() {
		p.err = errors.New("transcoding is off (--transcode off)")
		close(p.measured)
		return p, nil
	}
	var err error
	if p.encoder, err = EncoderNamed(s.Encoder); err != nil {
		return nil, err
	}
	if _, err := exec.LookPath(s.FFmpeg); err != nil && s.Mode == Required {
		return nil, fmt.Errorf("transcoding needs ffmpeg: %w", err)
	}
	return p, nil
}

// Measure tests the encoder and measures the machine, once. Until it returns, renditions
// wait. Problems are logged; with Required, or an encoder that was chosen by a flag, they
// are errors.
func (p *Pool) Measure(ctx context.Context) error {
	if !p.Enabled() {
		p.warn(p.err)
		return nil
	}
	defer close(p.measured)
	limit, err := p.findLimit(ctx)
	p.mu.Lock()
	p.limit, p.err = limit, err
	p.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return nil
	case err != nil && p.Required():
		return fmt.Errorf("transcoding is required and does not work: %w", err)
	case err != nil && p.encoder.Name != DefaultEncoder:
		return fmt.Errorf("--encoder %s does not work here (millrace encoders lists what does): %w", p.encoder.Name, err)
	case err != nil:
		p.warn(err)
	default:
		p.settings.Log.Info("transcoding", "encoder", p.encoder.Name, "capacity", fmt.Sprintf("%.1f ladders of 720p30", limit))
	}
	return nil
}

func (p *Pool) warn(err error) {
	p.settings.Log.Warn("nothing is transcoded: every channel has the source rendition only, whatever its type", "reason", err)
}

// Err returns why nothing can be transcoded here; nil if it can, or before Measure has
// returned.
func (p *Pool) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// Load returns how much is being transcoded, and how much can be, in ladders of 1280x720
// at 30 frames a second; 0 and 0 if nothing can, or before Measure has returned.
func (p *Pool) Load() (used, limit float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.used, p.limit
}

func (p *Pool) findLimit(ctx context.Context) (float64, error) {
	if c := p.settings.Capacity; c > 0 {
		return c, p.encoder.Check(ctx, p.settings.FFmpeg)
	}
	return p.encoder.Measure(ctx, p.settings.FFmpeg, runtime.NumCPU())
}

// acquire takes cost, as Cost computes it, of a pool that is measured. The error is
// ErrCapacity where too little is left. release gives it back and may be called
// once.
func (p *Pool) acquire(cost float64) (release func(), err error) {
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

// Enabled reports whether broadcasts are to be transcoded at all.
func (p *Pool) Enabled() bool { return p != nil && p.settings.Mode != Off && p.settings.Mode != "" }

// Required reports whether a broadcast that cannot be transcoded must be ended.
func (p *Pool) Required() bool { return p.settings.Mode == Required }

// job returns a job for the encoder of the pool; rungs, outputs and input are
// the caller's to fill in.
func (p *Pool) job() *Job {
	return &Job{FFmpeg: p.settings.FFmpeg, Encoder: p.encoder, Folder: p.settings.Folder}
}
