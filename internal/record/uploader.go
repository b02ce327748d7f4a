package record

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/bucket"
	"github.com/millrace/millrace/internal/ivs"
)

const (
	firstPause = time.Second      // after the first write that failed
	maxPause   = 30 * time.Second // between two attempts

	// uploadTimeout is how long one object may take.
	uploadTimeout = 2 * time.Minute

	// lostWait is how long a node may take to notice that it has lost a session.
	lostWait = 30 * time.Second

	// startWait is how long Recording Start waits for the first file of every
	// rendition once there is one.
	startWait = 5 * time.Second

	// byteRangesEvery is how often a byte-range playlist, which has several
	// entries a file, is written while it grows, and listEvery the others while
	// many files wait.
	byteRangesEvery = time.Minute
	listEvery       = 10 * time.Second
)

// errNotHeld is why nothing may be written any more.
var errNotHeld = errors.New("the recording is not this node's any more")

// An uploader is what the goroutine that uploads a recording knows.
type uploader struct {
	announced string    // the stream that has had its Recording Start
	startedAt time.Time // of recording-started.json; zero before
	firstFile time.Time // when a file of a stream that is not announced reached the bucket
	found     bool      // the bucket has been looked for
	masters   [2]string // the multivariant playlists that the bucket has
	refused   time.Time // since when the bucket refuses; zero if it does not
	pause     time.Duration
}

// upload writes what the recording has into the bucket, in order, until it has
// ended or ctx is done.
func (c *recording) upload(ctx context.Context) {
	for ctx.Err() == nil {
		ended, err := c.step(ctx)
		switch {
		case ended:
			c.remove()
			return
		case ctx.Err() != nil:
			return
		case errors.Is(err, errNotHeld):
			c.abandon(ctx)
			return
		case err == nil:
			c.succeeded()
			c.rest(ctx)
		case c.givesUp(ctx, err):
			return
		default:
			c.backOff(ctx, err)
		}
	}
}

// step uploads what waits, and ends the recording when that is due.
func (c *recording) step(ctx context.Context) (ended bool, err error) {
	if !c.found {
		if err := c.recorder.Buckets.Find(ctx, c.bucket); err != nil {
			return false, err
		}
		c.found = true
	}
	over := c.over(time.Now()) // asked first: what was written until then is flushed
	if err := c.flush(ctx); err != nil {
		return false, err
	}
	if err := c.announce(ctx); err != nil {
		return false, err
	}
	if !over {
		return false, nil
	}
	return true, c.finalize(ctx)
}

// over reports whether the recording is to end now. From then on no stream is
// attached to it.
func (c *recording) over(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closing = c.closing || c.attached == "" && (c.failed || c.lost || !now.Before(c.until))
	return c.closing
}

// rest waits until there is something to do.
func (c *recording) rest(ctx context.Context) {
	c.mu.Lock()
	wait := time.Until(c.until)
	if c.attached != "" {
		wait = startWait // Recording Start may be waiting
	}
	c.mu.Unlock()
	timer := time.NewTimer(max(wait, 0) + time.Millisecond)
	defer timer.Stop()
	select {
	case <-c.wake:
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (c *recording) succeeded() {
	if c.pause > 0 {
		c.log.Info("the bucket takes objects again")
	}
	c.pause, c.refused = 0, time.Time{}
}

// backOff waits longer after each failure.
func (c *recording) backOff(ctx context.Context, err error) {
	if c.pause == 0 {
		c.log.Warn("writing to the bucket failed; it is tried again, and segments wait in the spool", "error", err)
	} else {
		c.log.Debug("writing to the bucket failed again", "error", err, "lag", c.lag(time.Now()).Round(time.Second))
	}
	c.pause = min(max(2*c.pause, firstPause), maxPause)
	sleep(ctx, c.pause/2+rand.N(c.pause/2))
}

// givesUp ends the recording if the bucket has refused for too long, or refuses
// from the start.
func (c *recording) givesUp(ctx context.Context, err error) bool {
	if !bucket.Refused(err) {
		c.refused = time.Time{}
		return false
	}
	now := time.Now()
	if c.refused.IsZero() {
		c.refused = now
	}
	if c.found && now.Sub(c.refused) < c.recorder.patience() {
		return false
	}
	reason := reasonInternal
	if c.startedAt.IsZero() {
		reason = reasonValidation
	}
	c.fail(err)
	c.awaitReaders(ctx)
	c.over(now)
	if err := c.writeEnd(ctx, now); err != nil { // it is refused too, most likely
		c.log.Debug("the end of a recording is not in its bucket", "error", err)
	}
	return c.end(ctx, now, reason)
}

// abandon ends a recording of which nothing may be written any more.
func (c *recording) abandon(ctx context.Context) {
	c.fail(errNotHeld)
	c.awaitReaders(ctx)
	c.end(ctx, time.Now(), reasonInternal)
}

// awaitReaders returns when no segment is added to the spool any more.
func (c *recording) awaitReaders(ctx context.Context) {
	for !c.idleStream() && ctx.Err() == nil {
		select {
		case <-c.wake:
		case <-ctx.Done():
		}
	}
}

// end records the failure and gives up what waits in the spool. It reports
// false where ctx has ended before.
func (c *recording) end(ctx context.Context, at time.Time, reason string) bool {
	c.recorder.failures.Add(1)
	result := c.result()
	result.Failure = c.failure()
	for {
		err := c.recorder.Store.EndRecording(ctx, c.id, c.recorder.Owner, at, result, reason)
		if err == nil {
			c.remove()
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		c.backOff(ctx, err)
	}
}

func (c *recording) failure() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.manifest.Failure
}

// flush uploads the files that wait, the oldest first, and the playlists that
// name them.
func (c *recording) flush(ctx context.Context) error {
	for {
		t, f := c.oldest()
		if t == nil {
			break
		}
		if err := c.uploadFile(ctx, t, f); err != nil {
			return err
		}
		if _, more := t.first(); !more || time.Since(t.uploads.playlist) > listEvery {
			if err := c.writePlaylists(ctx, t, false); err != nil {
				return err
			}
		}
	}
	for _, t := range c.all() { // whose writing failed the last time
		if err := c.writePlaylists(ctx, t, false); err != nil {
			return err
		}
	}
	if err := c.writeMasters(ctx, bucket.Growing); err != nil {
		return err
	}
	return c.uploadImages(ctx)
}

// oldest is the track that has the oldest file that waits; nil if none does.
func (c *recording) oldest() (track *track, first file) {
	for _, t := range c.all() {
		if f, ok := t.first(); ok && (track == nil || f.date.Before(first.date)) {
			track, first = t, f
		}
	}
	return track, first
}

func (c *recording) uploadFile(ctx context.Context, t *track, f file) error {
	folder := path.Join(mediaFolder, t.name())
	if !f.gap {
		for t.uploads.inits <= f.init {
			name := initName(t.uploads.inits)
			if err := c.putFile(ctx, path.Join(folder, name), filepath.Join(t.folder, name)); err != nil {
				return err
			}
			t.uploads.inits++
		}
		if err := c.putFile(ctx, path.Join(folder, f.name()), t.path(f.number)); err != nil {
			return err
		}
		if c.firstFile.IsZero() {
			c.firstFile = time.Now()
		}
	}
	before := c.longest()
	if err := t.uploaded(f); err != nil {
		return err
	}
	c.recorder.recordedNanos.Add(int64(c.longest() - before))
	return nil
}

// longest is the media of the longest track in the bucket.
func (c *recording) longest() (d time.Duration) {
	for _, t := range c.all() {
		t.mu.Lock()
		d = max(d, t.uploads.duration)
		t.mu.Unlock()
	}
	return d
}

// writePlaylists writes the media playlists of a track that have grown; with
// all, both of them.
func (c *recording) writePlaylists(ctx context.Context, t *track, all bool) error {
	u := &t.uploads
	if !u.dirty && !all {
		return nil
	}
	cache := bucket.Growing
	if all {
		cache = bucket.Final
	}
	now := time.Now()
	if all || u.byteRanges.IsZero() || now.Sub(u.byteRanges) >= byteRangesEvery {
		if err := c.putCopy(ctx, path.Join(mediaFolder, t.name(), byteRangePlaylistName), cache, filepath.Join(t.folder, byteRangePlaylistName)); err != nil {
			return err
		}
		u.byteRanges = now
	}
	if err := c.putCopy(ctx, path.Join(mediaFolder, t.name(), playlistName), cache, filepath.Join(t.folder, playlistName)); err != nil {
		return err
	}
	u.playlist, u.dirty = now, false
	return nil
}

// listed are the tracks that have media and a playlist in the bucket, best first.
func (c *recording) listed() (variants []variant) {
	for _, t := range c.all() {
		if t.uploads.files > 0 && !t.uploads.playlist.IsZero() {
			variants = append(variants, t.listed())
		}
	}
	slices.SortStableFunc(variants, func(a, b variant) int { return b.Height - a.Height })
	return variants
}

// writeMasters writes the multivariant playlists if they have changed. Bit rates
// alone are no reason, until the end.
func (c *recording) writeMasters(ctx context.Context, cache string) error {
	variants := c.listed()
	if len(variants) == 0 {
		return nil
	}
	for i, names := range [2][2]string{{multivariantName, playlistName}, {byteRangeMultiName, byteRangePlaylistName}} {
		text := string(multivariant(variants, names[1]))
		if cache == bucket.Growing && sameVariants(c.masters[i], text) {
			continue
		}
		if err := c.put(ctx, path.Join(mediaFolder, names[0]), cache, []byte(text)); err != nil {
			return err
		}
		c.masters[i] = text
	}
	return nil
}

// sameVariants compares multivariant playlists but for the bit rates.
func sameVariants(a, b string) bool {
	uris := func(text string) (all []string) {
		for line := range strings.Lines(text) {
			if _, after, ok := strings.Cut(line, "CODECS="); ok {
				line = after
			}
			all = append(all, line)
		}
		return all
	}
	return slices.Equal(uris(a), uris(b))
}

// announce says of each stream that it is being recorded: when the bucket has a
// file of each rendition, or of some for a while.
func (c *recording) announce(ctx context.Context) error {
	c.mu.Lock()
	streams := c.manifest.Streams[slices.Index(c.manifest.Streams, c.announced)+1:]
	attached := c.attached != ""
	c.mu.Unlock()
	if len(streams) == 0 || !c.mayAnnounce(attached) {
		return nil
	}
	now := time.Now()
	if c.startedAt.IsZero() {
		d := c.document(statusStarted)
		d.StartedAt = ivs.Time{Time: now}
		if err := c.putDocument(ctx, startedName, bucket.Final, d); err != nil {
			return err
		}
	}
	for _, id := range streams {
		if err := c.recorder.Store.StartRecording(ctx, c.id, c.recorder.Owner, id, now); err != nil {
			return err
		}
		if c.startedAt.IsZero() {
			c.startedAt = now
		}
		c.announced = id
		c.log.Info("recording has started", "stream", id)
	}
	c.firstFile = time.Time{}
	return nil
}

func (c *recording) mayAnnounce(attached bool) bool {
	switch {
	case c.configuration.RenditionConfiguration.RenditionSelection == ivs.RenditionsNone:
		return true
	case c.firstFile.IsZero():
		return !attached && !c.startedAt.IsZero() // the stream had nothing to record
	}
	return !attached || c.complete() || time.Since(c.firstFile) >= startWait
}

// complete reports whether every track has a file in the bucket.
func (c *recording) complete() bool {
	for _, t := range c.all() {
		if t.uploads.files == 0 {
			return false
		}
	}
	return true
}

// finalize ends the recording: with all that it has in the bucket, and a
// failure if there was one.
func (c *recording) finalize(ctx context.Context) error {
	now := time.Now()
	c.mu.Lock()
	if c.announced == "" && c.manifest.Failure == "" {
		c.manifest.Failure = "the stream ended before anything of it was recorded"
	}
	lost, failure := c.lost, c.manifest.Failure
	c.mu.Unlock()
	if lost {
		return errNotHeld
	}
	if err := c.writeEnd(ctx, now); err != nil {
		return err
	}
	result, reason := c.result(), ""
	if failure != "" {
		result.Failure, reason = failure, reasonInternal
	}
	if err := c.recorder.Store.EndRecording(ctx, c.id, c.recorder.Owner, now, result, reason); err != nil {
		return err
	}
	if failure != "" {
		c.recorder.failures.Add(1)
	}
	c.log.Info("recording has ended", "duration", result.Duration.Round(time.Millisecond), "bytes", result.Bytes, "failure", failure)
	return nil
}

// writeEnd writes the last state of every playlist, and then the JSON file.
func (c *recording) writeEnd(ctx context.Context, now time.Time) error {
	for _, t := range c.all() {
		if t.uploads.files == 0 {
			continue
		}
		if err := t.finish(); err != nil {
			return err
		}
		if err := c.writePlaylists(ctx, t, true); err != nil {
			return err
		}
	}
	if err := c.writeMasters(ctx, bucket.Final); err != nil {
		return err
	}
	name, status := endedName, statusEnded
	failure := c.failure()
	if failure != "" {
		name, status = failedName, statusFailed
	}
	d := c.document(status)
	if failure != "" {
		d.StatusMessage = reasonInternal
	}
	started := c.startedAt
	if started.IsZero() {
		started = now
	}
	d.StartedAt, d.EndedAt = ivs.Time{Time: started}, ivs.Time{Time: now}
	ms := c.longest().Milliseconds()
	d.Media.HLS.DurationMS = &ms
	return c.putDocument(ctx, name, bucket.Final, d)
}

// document is a JSON file without its times.
func (c *recording) document(status string) document {
	d := newDocument(c.channelARN, status, c.listed())
	c.addThumbnails(&d)
	return d
}

func (c *recording) putDocument(ctx context.Context, name, cache string, d document) error {
	b, err := d.encode()
	if err != nil {
		return err
	}
	return c.put(ctx, name, cache, b)
}

// put writes an object below the prefix.
func (c *recording) put(ctx context.Context, name, cache string, content []byte) error {
	return c.write(ctx, func(ctx context.Context) error {
		return c.recorder.Buckets.Put(ctx, c.bucket, c.prefix+"/"+name, cache, bytes.NewReader(content))
	})
}

// putFile writes media, which does not change any more.
func (c *recording) putFile(ctx context.Context, name, file string) error {
	return c.write(ctx, func(ctx context.Context) error {
		return c.recorder.Buckets.PutFile(ctx, c.bucket, c.prefix+"/"+name, bucket.Immutable, file)
	})
}

// putCopy writes what a file has now.
func (c *recording) putCopy(ctx context.Context, name, cache, file string) error {
	return c.write(ctx, func(ctx context.Context) error {
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		return c.recorder.Buckets.Put(ctx, c.bucket, c.prefix+"/"+name, cache, f)
	})
}

// write has f write an object, if the recording is still this node's, when it
// is its turn.
func (c *recording) write(ctx context.Context, f func(context.Context) error) error {
	select {
	case c.recorder.uploads <- struct{}{}:
		defer func() { <-c.recorder.uploads }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := c.checkHeld(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, uploadTimeout)
	defer cancel()
	defer context.AfterFunc(c.held, cancel)()
	return f(ctx)
}

// endsHere waits for the end of a stream whose session is not open any more, and
// reports whether it was this node that has ended it.
func (c *recording) endsHere(ctx context.Context, stream string) bool {
	for deadline := time.Now().Add(lostWait); ctx.Err() == nil && time.Now().Before(deadline); sleep(ctx, 10*time.Millisecond) {
		c.mu.Lock()
		attached, lost := c.attached == stream, c.lost
		c.mu.Unlock()
		if !attached {
			return !lost
		}
	}
	return false
}

// checkHeld is errNotHeld if nothing may be written any more.
func (c *recording) checkHeld(ctx context.Context) error {
	c.mu.Lock()
	lost, stream := c.lost, c.attached
	c.mu.Unlock()
	if lost {
		return errNotHeld
	}
	store, owner := c.recorder.Store, c.recorder.Owner
	held, err := store.RecordingHeld(ctx, c.id, owner)
	if err == nil && held && stream != "" {
		held, err = store.SessionHeld(ctx, stream, owner)
		if err == nil && !held {
			held = c.endsHere(ctx, stream)
		}
	}
	if err != nil {
		return fmt.Errorf("nothing is written before the database says whose the recording is: %w", err)
	}
	if !held {
		return errNotHeld
	}
	return nil
}
