package record

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
)

// A recording is one prefix in a bucket. Streams come and go, one at a time;
// its uploader is there from the first to the end.
type recording struct {
	identity
	recorder  *Recorder
	folder    string // in the spool
	share     *share // of the spool
	log       *slog.Logger
	wake      chan struct{} // holds one when there is something to upload
	cancelled chan struct{} // closed by fail: nothing more is to be recorded

	mu       sync.Mutex
	progress progress           // guarded by mu
	tracks   []*track           // guarded by mu; only added to
	images   images             // guarded by mu; thumbnails
	streams  streams            // guarded by mu
	wantedBy string             // guarded by mu; the node that asks for the recording; "" if none does
	failed   bool               // guarded by mu; cancelled is closed
	lost     bool               // guarded by mu; another node may have the session: nothing may be written
	abort    context.CancelFunc // guarded by mu; ends the write in progress; nil without one
}

// setSource is called when the attached stream begins to be read.
func (c *recording) setSource(s *source) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.streams.source = s
}

// noteBegin keeps where the media of the attached stream begins.
func (c *recording) noteBegin(date time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.streams.last.begin = date
}

// noteEnd keeps where it ends; date is zero if there was none.
func (c *recording) noteEnd(date time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.streams.end(date)
}

// past are the streams that have ended.
func (c *recording) past() []span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.streams.ended)
}

// align fills those tracks with gaps that lack media of the streams that have ended. It
// is called while no segments come.
func (c *recording) align() {
	streams := c.past()
	for _, t := range c.all() {
		if err := t.writer.fill(streams); err != nil {
			c.log.Error("filling a rendition failed", "rendition", t.name(), "error", err)
		}
	}
}

// window is how long the recording waits for another stream.
func (i *identity) window() time.Duration {
	return time.Duration(i.Configuration.ReconnectWindowSeconds) * time.Second
}

func (c *recording) trackFolder(name string) string { return filepath.Join(c.folder, name) }

// notify has upload look for work.
func (c *recording) notify() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// resume attaches the stream of a session, if it is one that the recording
// waits for.
func (c *recording) resume(session ivs.StreamSession, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ChannelARN != session.Channel.ARN || !c.streams.waiting(now) || c.failed || c.lost || c.window() == 0 {
		return false
	}
	m := manifest{c.identity, c.progress}
	if reason := m.differs(session, now); reason != "" {
		c.log.Info("recording does not continue with the next stream", "stream", session.StreamID, "reason", reason)
		return false
	}
	m.Streams = append(slices.Clone(m.Streams), session.StreamID)
	if err := c.save(m.progress); err != nil {
		c.log.Error("recording does not continue with the next stream", "stream", session.StreamID, "error", err)
		return false
	}
	c.streams.attach(session.StreamID)
	return true
}

// save replaces the progress, in the spool first. c.mu is held.
func (c *recording) save(p progress) error {
	if err := (manifest{c.identity, p}).save(c.folder); err != nil {
		return err
	}
	c.progress = p
	return nil
}

// differs returns why a stream is not merged into the recording; "" if it is.
func (m *manifest) differs(session ivs.StreamSession, now time.Time) string {
	next := session.IngestConfigurations
	switch {
	case session.RecordingConfiguration.ARN != m.Configuration.ARN:
		return "another recording configuration"
	case session.Channel.Type != m.ChannelType:
		return "another channel type"
	case (session.Channel.ContainerFormat == ivs.ContainerFMP4) != m.FMP4:
		return "another container format"
	case len(m.Streams) >= maxStreams:
		return "it has " + strconv.Itoa(maxStreams) + " streams"
	case now.Sub(m.CreatedAt) >= maxAge:
		return "it is 48 hours old"
	case next == nil || len(next.Video) != len(m.Ingest.Video) || len(next.Audio) != len(m.Ingest.Audio):
		return "other tracks"
	}
	for i, v := range next.Video {
		was := m.Ingest.Video[i]
		switch {
		case v.VideoWidth != was.VideoWidth || v.VideoHeight != was.VideoHeight:
			return "another resolution"
		case v.TargetFramerate != was.TargetFramerate:
			return "another frame rate"
		case v.Codec != was.Codec:
			return "another video codec"
		case apart(v.TargetBitrate, was.TargetBitrate):
			return "a bit rate that differs by more than half"
		}
	}
	for i, a := range next.Audio {
		if a.Codec != m.Ingest.Audio[i].Codec {
			return "another audio codec"
		}
	}
	return ""
}

// apart reports whether a bit rate differs from the first one by more than half of the
// first. 0 means unknown.
func apart(now, first int) bool {
	return now != 0 && first != 0 && (2*now < first || 2*now > 3*first)
}

// detach is called at the end of the attached stream.
func (c *recording) detach(lost bool) {
	c.mu.Lock()
	c.streams.detach(time.Now().Add(c.window()))
	c.lost = c.lost || lost
	if c.lost && c.abort != nil {
		c.abort()
	}
	c.mu.Unlock()
	c.notify()
}

// fail ends the recording before its streams do. Where the spool is full, it does
// not wait for the object that is being written either.
func (c *recording) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed {
		return
	}
	if errors.Is(err, errFull) && c.abort != nil {
		c.abort()
	}
	c.failed = true
	close(c.cancelled)
	c.progress.Failure = err.Error()
	if err := c.save(c.progress); err != nil {
		c.log.Error("saving the failure of a recording failed", "error", err)
	}
	c.log.Error("recording ends with a failure", "error", err)
	c.notify()
}

// waiting returns how many bytes of media wait for the bucket, and can be deleted by
// giveUp.
func (c *recording) waiting() (bytes int64) {
	for _, t := range c.all() {
		bytes += t.queue.bytes()
	}
	return bytes
}

// giveUp ends the recording in a spool that is full, and deletes its waiting media, the
// newest first, until n bytes are free: what is left plays from the beginning. It returns
// the number of bytes that it has freed. A recording without waiting media continues.
func (c *recording) giveUp(n int64) (freed int64) {
	if c.waiting() == 0 {
		return 0 // nor are thumbnails given up
	}
	for freed < n {
		bytes, more, err := c.giveUpNewest()
		if more || err != nil {
			c.fail(errFull)
		}
		freed += bytes
		if err != nil {
			c.log.Error("deleting media of a recording from the full spool failed", "error", err)
		}
		if err != nil || !more {
			break
		}
	}
	return freed
}

func (c *recording) giveUpNewest() (freed int64, more bool, err error) {
	var newest *track
	var date time.Time
	for _, t := range c.all() {
		if d := t.queue.newest(); d.After(date) {
			newest, date = t, d
		}
	}
	if newest == nil {
		return c.giveUpThumbnail()
	}
	return newest.queue.giveUp()
}

// trackFor returns the track that a variant's segments go into, a new one if
// there is none of its name.
func (c *recording) trackFor(v variant) (*track, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.tracks {
		if t.name() == v.Name {
			return t, nil
		}
	}
	next := c.progress
	if !slices.Contains(next.Tracks, v.Name) {
		next.Tracks = append(slices.Clone(next.Tracks), v.Name)
		if err := c.save(next); err != nil {
			return nil, err
		}
	}
	t, err := createTrack(c.trackFolder(v.Name), v, c.FMP4, c.share)
	if err == nil {
		c.tracks = append(c.tracks, t)
	}
	return t, err
}

// all returns the present tracks.
func (c *recording) all() []*track {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.tracks)
}

// idleStream reports whether no stream is being recorded.
func (c *recording) idleStream() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.streams.attached == ""
}

// want notes that another node asks for the recording.
func (c *recording) want(node string) {
	c.mu.Lock()
	c.wantedBy = node
	c.mu.Unlock()
	c.notify()
}

// idle reports whether the recording does nothing but wait for a stream.
func (c *recording) idle() bool {
	c.mu.Lock()
	waits := c.streams.waiting(time.Now()) && !c.failed
	c.mu.Unlock()
	return waits && c.lag(time.Now()) == 0
}

// lag is how long the oldest file has waited to be uploaded; 0 if none does.
func (c *recording) lag(now time.Time) (lag time.Duration) {
	for _, t := range c.all() {
		if f, ok := t.queue.first(); ok {
			lag = max(lag, now.Sub(f.date.Add(f.duration)), 1)
		}
	}
	return lag
}

// result summarizes the recording so far.
func (c *recording) result() store.RecordingResult {
	r := store.RecordingResult{Renditions: []store.RecordedRendition{}}
	c.mu.Lock()
	if c.streams.last.ended {
		r.MediaEnd = c.streams.last.end
	}
	c.mu.Unlock()
	for _, t := range c.all() {
		v := t.queue.listed()
		written, _, lost := t.queue.totals()
		r.Lost = max(r.Lost, lost)
		if written.duration == 0 {
			continue
		}
		r.Duration = max(r.Duration, written.duration)
		r.Bytes += written.bytes
		r.Renditions = append(r.Renditions, store.RecordedRendition{Path: v.Name, Width: v.Width, Height: v.Height})
	}
	slices.SortStableFunc(r.Renditions, func(a, b store.RecordedRendition) int { return b.Height - a.Height })
	if t := c.Configuration.ThumbnailConfiguration; wantsThumbnails(t) && slices.Contains(t.Storage, ivs.ThumbnailsSequential) {
		c.mu.Lock()
		r.Thumbnails = c.images.next - len(c.images.pending)
		c.mu.Unlock()
		r.ThumbnailInterval = time.Duration(t.TargetIntervalSeconds) * time.Second
	}
	return r
}

// discard drops the pending files of the spool.
func (c *recording) discard() {
	for _, t := range c.all() {
		if err := t.discard(); err != nil && !errors.Is(err, os.ErrClosed) {
			c.log.Warn("closing a track of the spool failed", "error", err)
		}
	}
}

// remove frees the recording's space in the spool.
func (c *recording) remove() {
	c.discard()
	c.share.close()
	if err := os.RemoveAll(c.folder); err != nil {
		c.log.Error("removing the spool of a recording failed", "error", err)
	}
}
