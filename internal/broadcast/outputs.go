package broadcast

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/segment"
)

// Renditions make the renditions of a broadcast besides its source, from the
// source's frames or from other tracks of the encoder.
type Renditions interface {
	// Run reads frames from source and writes renditions to out until source is closed or
	// ctx is done, and then returns nil. It must return promptly, since the end of the
	// broadcast waits for it. An error says why there are no more renditions; the
	// broadcast continues without them.
	Run(ctx context.Context, source *media.Ring, out *Outputs) error
}

// An Output is a rendition to be made.
type Output struct {
	Label     string // the name that players show, such as "720p30"
	AudioOnly bool
	Bitrate   int // target of its encoder, bits per second
}

// A Thumbnail is an image of a broadcast.
type Thumbnail struct {
	JPEG []byte // must not be changed
	At   time.Time
	Date time.Time // EXT-X-PROGRAM-DATE-TIME of the frame
}

// Outputs are the renditions that Renditions make for one broadcast.
type Outputs struct {
	stream    *hls.Stream     // immutable
	source    *segment.Leader // immutable
	thumbnail atomic.Pointer[Thumbnail]
	epoch     atomic.Int64 // the wall clock at DTS zero, Unix nanoseconds; the Broadcast's writer sets it

	mu        sync.Mutex
	followers []follower      // guarded by mu
	used      map[string]int  // guarded by mu; how often a label was given to a rendition
	final     bool            // guarded by mu; no more are made
	changed   <-chan struct{} // guarded by mu; closed when ready may have another answer; nil before it was asked
}

// A follower is a rendition that is cut where the source is cut.
type follower struct {
	*segment.Follower
	label string
}

// Set makes outputs the renditions of the broadcast, and returns a writer for each, to be
// used by one goroutine each. Outputs that exist already continue; those that are no
// longer wanted are removed. showSource makes the source a rendition beside them;
// otherwise it is listed only while none of them plays.
func (o *Outputs) Set(outputs []Output, showSource bool) []media.Writer {
	o.mu.Lock()
	defer o.mu.Unlock()
	old := o.followers
	o.followers = nil
	var writers []media.Writer
	for _, out := range outputs {
		i := slices.IndexFunc(old, func(f follower) bool { return f.label == out.Label })
		if i >= 0 {
			o.followers = append(o.followers, old[i])
			old = slices.Delete(old, i, i+1)
		} else {
			r := o.stream.AddRendition(o.newNameLocked(out.Label), hls.Listing{Label: out.Label, Bitrate: out.Bitrate, AudioOnly: out.AudioOnly})
			o.followers = append(o.followers, follower{segment.NewFollower(r, o.source, out.AudioOnly), out.Label})
		}
		writers = append(writers, o.followers[len(o.followers)-1])
	}
	for _, f := range old {
		f.Rendition().Remove()
	}
	o.source.Rendition().SetFallback(!showSource)
	return writers
}

// newNameLocked returns the label, with a number if a removed rendition had the same
// name: the URIs of its media must not be used again.
func (o *Outputs) newNameLocked(label string) string {
	if o.used == nil {
		o.used = map[string]int{}
	}
	n := o.used[label]
	o.used[label]++
	if n == 0 {
		return label
	}
	return fmt.Sprintf("%s-%d", label, n+1)
}

// Interrupt continues all outputs after a discontinuity. Nothing may be written to them
// during the call.
func (o *Outputs) Interrupt() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, f := range o.followers {
		f.Discontinuity()
	}
}

// SetThumbnail sets the latest thumbnail, which shows the broadcast at that DTS. The
// caller must not change the bytes afterwards.
func (o *Outputs) SetThumbnail(jpeg []byte, dts time.Duration) {
	o.thumbnail.Store(&Thumbnail{JPEG: jpeg, At: time.Now(), Date: time.Unix(0, o.epoch.Load()).Add(dts)})
}

// ready reports whether every output plays, or no more are made. It is called for every
// frame, and looks only if renditions have changed.
func (o *Outputs) ready() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.final {
		return true
	}
	select {
	case <-o.changed:
	default:
		if o.changed != nil {
			return false
		}
	}
	_, o.changed = o.stream.Renditions()
	for _, f := range o.followers {
		if !f.Rendition().Playing() {
			return false
		}
	}
	return len(o.followers) > 0
}

// remove takes all outputs away: the source is shown alone.
func (o *Outputs) remove() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, f := range o.followers {
		f.Rendition().Remove()
	}
	o.followers, o.final = nil, true
	o.source.Rendition().SetFallback(false)
}

// close ends the outputs cleanly.
func (o *Outputs) close(log *slog.Logger) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.final = true
	for _, f := range o.followers {
		if err := f.Close(); err != nil {
			log.Error("writing the end of a rendition failed", "rendition", f.Rendition().Name(), "error", err)
		}
	}
}
