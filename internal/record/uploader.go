package record

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/millrace/millrace/internal/bucket"
	"github.com/millrace/millrace/internal/ivs"
)

const (
	firstPause = time.Second      // after the first write that failed
	maxPause   = 30 * time.Second // between two attempts

	// uploadTimeout is how long one object may take.
	uploadTimeout = 2 * time.Minute

	// heldFor is how long it is remembered that a recording is this node's, by the
	// database.
	heldFor = time.Second

	// lostWait is how long a node may take to notice that it has lost a session.
	lostWait = 30 * time.Second

	// startWait is how long Recording Start waits for the first file of every
	// rendition once there is one.
	startWait = 5 * time.Second

	// listEvery is how often playlists are written while many files wait. A byte-range
	// playlist, which has several entries a file, is written as often while it has at
	// most byteRangesSmall bytes, and then every byteRangesEvery.
	listEvery       = 10 * time.Second
	byteRangesSmall = 64 << 10
	byteRangesEvery = time.Minute
)

// errNotHeld is returned when nothing may be written any more.
var errNotHeld = errors.New("this node no longer owns the recording")

// An uploader writes a recording into its bucket, and belongs to the goroutine
// that does.
type uploader struct {
	*recording
	announced string    // the stream that has had its Recording Start
	startedAt time.Time // of recording-started.json; zero before
	firstFile time.Time // when a file of a stream that is not announced reached the bucket
	endedAt   time.Time // time of Recording End Failure, if that came before all media was uploaded; else zero
	found     bool      // the bucket has been looked for
	masters   [2]string // the multivariant playlists that the bucket has
	refused   time.Time // when the bucket began to refuse; zero if it does not
	pause     time.Duration
}

// upload writes what the recording has into the bucket, in order, until it has
// ended or ctx is done.
func (u *uploader) upload(ctx context.Context) {
	for ctx.Err() == nil {
		if u.pause > 0 && u.failure() != "" && u.endedAt.IsZero() && u.endEarly(ctx) {
			return
		}
		ended, err := u.step(ctx)
		switch {
		case ended:
			u.remove()
			return
		case ctx.Err() != nil:
			return
		case errors.Is(err, errNotHeld):
			u.abandon(ctx)
			return
		case err == nil:
			u.succeeded()
			u.rest(ctx)
		case u.givesUp(ctx, err):
			return
		default:
			u.backOff(ctx, err)
		}
	}
}

// step uploads what waits, and ends the recording when that is due.
func (u *uploader) step(ctx context.Context) (ended bool, err error) {
	if !u.found {
		if err := u.abortable(ctx, func(ctx context.Context) error { return u.recorder.Buckets.Find(ctx, u.Bucket) }); err != nil {
			return false, err
		}
		u.found = true
	}
	over := u.closeIfOver(time.Now()) // asked first, so that all that was written before the end is flushed
	if err := u.flush(ctx); err != nil {
		return false, err
	}
	if err := u.announce(ctx); err != nil {
		return false, err
	}
	if !over {
		return u.pass(ctx)
	}
	return true, u.finalize(ctx)
}

// pass gives a recording that waits for a stream to the node that has that stream and
// wants the recording. It reports whether it has done so: the uploader then ends.
func (u *uploader) pass(ctx context.Context) (passed bool, err error) {
	u.mu.Lock()
	node := u.wantedBy
	u.wantedBy = "" // until it is seen again
	u.mu.Unlock()
	if node == "" || !u.refuseStreams() {
		return false, nil
	}
	if err = u.flush(ctx); err == nil { // once more: the stream may have ended since
		err = u.announce(ctx)
	}
	for _, t := range u.all() {
		if err == nil {
			err = u.writeByteRanges(ctx, t, bucket.Growing)
		}
	}
	if err == nil {
		passed, err = u.recorder.Store.PassRecording(ctx, u.ID, u.recorder.Owner)
	}
	if !passed {
		u.acceptStreams()
		return false, err
	}
	u.log.Info("recording continues on another node", "node", node)
	return true, nil
}

// refuseStreams prevents further streams from being attached. It reports false if one is
// attached already.
func (c *recording) refuseStreams() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.streams.closed = c.streams.attached == ""
	return c.streams.closed
}

func (c *recording) acceptStreams() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.streams.closed = false
}

// closeIfOver reports whether the recording is to end now. From then on no stream is
// attached to it.
func (c *recording) closeIfOver(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.streams.closed = c.streams.closed || c.streams.attached == "" && (c.failed || c.lost || !now.Before(c.streams.until))
	return c.streams.closed
}

// rest waits until there is something to do.
func (u *uploader) rest(ctx context.Context) {
	u.mu.Lock()
	wait := time.Until(u.streams.until)
	if u.streams.attached != "" {
		wait = startWait // Recording Start may be waiting
	}
	u.mu.Unlock()
	timer := time.NewTimer(max(wait, 0) + time.Millisecond)
	defer timer.Stop()
	select {
	case <-u.wake:
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (u *uploader) succeeded() {
	if u.pause > 0 {
		u.log.Info("the bucket accepts objects again")
	}
	u.pause, u.refused = 0, time.Time{}
}

// backOff waits longer after each failure.
func (u *uploader) backOff(ctx context.Context, err error) {
	if u.pause == 0 {
		u.log.Warn("writing to the bucket failed; retrying while segments wait in the spool", "error", err)
	} else {
		u.log.Debug("writing to the bucket failed again", "error", err, "lag", u.lag(time.Now()).Round(time.Second))
	}
	u.pause = min(max(2*u.pause, firstPause), maxPause)
	failed := u.cancelled
	if !u.endedAt.IsZero() {
		failed = nil // that is recorded
	}
	select {
	case <-time.After(u.pause/2 + rand.N(u.pause/2)):
	case <-failed:
	case <-ctx.Done():
	}
}

// endEarly records at once that a recording has failed because its bucket refuses
// uploads. The spool is still uploaded as soon as the bucket accepts it, so that the
// recording can be played. done is true if there is no more to do: a recording that
// has not started was never announced.
func (u *uploader) endEarly(ctx context.Context) (done bool) {
	u.awaitReaders(ctx)
	now := time.Now()
	u.closeIfOver(now)
	if u.startedAt.IsZero() {
		return u.end(ctx, now, reasonInternal)
	}
	if err := u.recordEnd(ctx, now, u.failure(), reasonInternal); err != nil {
		u.log.Error("the failure of a recording cannot be recorded; it is tried again", "error", err)
		return false
	}
	u.endedAt = now
	return false
}

// givesUp ends the recording if the bucket has refused for too long, or refuses
// from the start.
func (u *uploader) givesUp(ctx context.Context, err error) bool {
	if !bucket.Refused(err) {
		u.refused = time.Time{}
		return false
	}
	now := time.Now()
	if u.refused.IsZero() {
		u.refused = now
	}
	if u.found && now.Sub(u.refused) < u.recorder.patience() {
		return false
	}
	reason := reasonInternal
	if u.startedAt.IsZero() {
		reason = reasonValidation
	}
	u.fail(err)
	u.awaitReaders(ctx)
	u.closeIfOver(now)
	if err := u.writeEnd(ctx, now); err != nil { // most likely the bucket refuses it, too
		u.log.Debug("the end of a recording is not in its bucket", "error", err)
	}
	return u.end(ctx, now, reason)
}

// abandon ends a recording for which nothing may be written any more.
func (u *uploader) abandon(ctx context.Context) {
	u.fail(errNotHeld)
	u.awaitReaders(ctx)
	u.end(ctx, time.Now(), reasonInternal)
}

// awaitReaders returns when no segment is added to the spool any more.
func (u *uploader) awaitReaders(ctx context.Context) {
	for !u.idleStream() && ctx.Err() == nil {
		select {
		case <-u.wake:
		case <-ctx.Done():
		}
	}
}

// end records the failure and gives up what waits in the spool. It reports false if ctx
// has ended before.
func (u *uploader) end(ctx context.Context, at time.Time, reason string) bool {
	u.discard()
	for {
		err := u.recordEnd(ctx, at, u.failure(), reason)
		if err == nil {
			u.remove()
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		u.backOff(ctx, err)
	}
}

// recordEnd records the end of the recording in the database. If the end is recorded
// already, it records what has reached the bucket since.
func (u *uploader) recordEnd(ctx context.Context, at time.Time, failure, reason string) error {
	store, owner := u.recorder.Store, u.recorder.Owner
	result := u.result()
	result.Failure = failure
	if !u.endedAt.IsZero() {
		return store.CorrectRecording(ctx, u.ID, owner, result)
	}
	if err := store.EndRecording(ctx, u.ID, owner, at, result, reason); err != nil {
		return err
	}
	if failure != "" {
		u.recorder.failures.Add(1)
	}
	u.log.Info("recording has ended", "duration", result.Duration.Round(time.Millisecond), "bytes", result.Bytes, "lost", result.Lost.Round(time.Millisecond), "failure", failure)
	return nil
}

func (c *recording) failure() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.progress.Failure
}

// flush uploads the files that wait, the oldest first, and the playlists that
// name them.
func (u *uploader) flush(ctx context.Context) error {
	for {
		t, f := u.oldest()
		if t == nil {
			break
		}
		if err := u.uploadFile(ctx, t, f); err != nil {
			return err
		}
		if _, more := t.queue.first(); !more || time.Since(t.uploads.playlist) > listEvery {
			if err := u.writePlaylists(ctx, t, false); err != nil {
				return err
			}
		}
	}
	for _, t := range u.all() { // whose writing failed the last time
		if err := u.writePlaylists(ctx, t, false); err != nil {
			return err
		}
	}
	if err := u.writeMasters(ctx, bucket.Growing); err != nil {
		return err
	}
	return u.uploadImages(ctx)
}

// oldest returns the track with the oldest waiting file; nil if no file waits.
func (c *recording) oldest() (track *track, first file) {
	for _, t := range c.all() {
		if f, ok := t.queue.first(); ok && (track == nil || f.date.Before(first.date)) {
			track, first = t, f
		}
	}
	return track, first
}

func (u *uploader) uploadFile(ctx context.Context, t *track, f file) error {
	if !f.gap {
		err := u.putMedia(ctx, t, f)
		if unreadable(err, t.folder) {
			u.log.Error("a file in the spool cannot be read: the recording has a gap there", "rendition", t.name(), "lost", f.duration, "error", err)
			return t.queue.writeOff(f)
		}
		if err != nil {
			return err
		}
		if u.firstFile.IsZero() && u.unannounced(f) {
			u.firstFile = time.Now()
		}
	}
	before := u.longest()
	if err := t.uploads.uploaded(f); err != nil {
		return err
	}
	u.recorder.recordedNanos.Add(int64(u.longest() - before))
	return nil
}

// putMedia writes a file of a track, after the init segments that it needs.
func (u *uploader) putMedia(ctx context.Context, t *track, f file) error {
	folder := path.Join(mediaFolder, t.name())
	for t.uploads.inits <= f.init {
		name := initName(t.uploads.inits)
		if err := u.putFile(ctx, path.Join(folder, name), filepath.Join(t.folder, name)); err != nil {
			return err
		}
		t.uploads.inits++
	}
	info, err := os.Stat(t.path(f.number))
	if err == nil && info.Size() < f.size {
		err = &fs.PathError{Op: "read", Path: t.path(f.number), Err: errShort}
	}
	if err != nil {
		return err
	}
	return u.putFile(ctx, path.Join(folder, f.name()), t.path(f.number))
}

// errShort is the error for a file that is smaller than when it was written, and cannot
// be uploaded.
var errShort = errors.New("the disk has not kept all of the file")

// unreadable reports whether an error says that a file below a folder is gone or
// damaged, so that trying again does not help.
func unreadable(err error, folder string) bool {
	e, ok := errors.AsType[*fs.PathError](err)
	return ok && strings.HasPrefix(e.Path, folder) && (errors.Is(e, fs.ErrNotExist) || errors.Is(e, syscall.EIO) || errors.Is(e, errShort))
}

// unannounced reports whether a file is of a stream that has not had its Recording Start.
func (u *uploader) unannounced(f file) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.progress.Streams[len(u.progress.Streams)-1] != u.announced && (u.streams.attached == "" || !u.streams.last.begin.IsZero() && !f.date.Before(u.streams.last.begin))
}

// longest returns the duration of the longest track in the bucket.
func (c *recording) longest() (d time.Duration) {
	for _, t := range c.all() {
		_, uploaded, _ := t.queue.totals()
		d = max(d, uploaded.duration)
	}
	return d
}

// writePlaylists writes the media playlists of a track that have grown; with
// all, both of them.
func (u *uploader) writePlaylists(ctx context.Context, t *track, all bool) error {
	up := t.uploads
	if up.files == 0 || !up.dirty && !all {
		return nil // gaps alone are nothing to play
	}
	cache := bucket.Growing
	if all {
		cache = bucket.Final
	}
	now := time.Now()
	if all || now.Sub(up.byteRanges) >= byteRangesEvery || up.size(byteRangePlaylistName) <= byteRangesSmall {
		if err := u.writeByteRanges(ctx, t, cache); err != nil {
			return err
		}
	}
	if err := u.putCopy(ctx, path.Join(mediaFolder, t.name(), playlistName), cache, filepath.Join(t.folder, playlistName)); err != nil {
		return err
	}
	up.playlist, up.dirty = now, false
	return nil
}

func (u *uploader) writeByteRanges(ctx context.Context, t *track, cache string) error {
	if t.uploads.files == 0 {
		return nil
	}
	err := u.putCopy(ctx, path.Join(mediaFolder, t.name(), byteRangePlaylistName), cache, filepath.Join(t.folder, byteRangePlaylistName))
	if err == nil {
		t.uploads.byteRanges = time.Now()
	}
	return err
}

// listed returns the tracks that have media and a playlist in the bucket, best first.
func (c *recording) listed() (variants []variant) {
	for _, t := range c.all() {
		if t.uploads.files > 0 && !t.uploads.playlist.IsZero() {
			variants = append(variants, t.queue.listed())
		}
	}
	slices.SortStableFunc(variants, func(a, b variant) int { return b.Height - a.Height })
	return variants
}

// writeMasters writes the multivariant playlists if they have changed. Bit rates
// alone are no reason, until the end.
func (u *uploader) writeMasters(ctx context.Context, cache string) error {
	variants := u.listed()
	if len(variants) == 0 {
		return nil
	}
	for i, names := range [2][2]string{{multivariantName, playlistName}, {byteRangeMultiName, byteRangePlaylistName}} {
		text := string(multivariant(variants, names[1]))
		if cache == bucket.Growing && sameVariants(u.masters[i], text) {
			continue
		}
		if err := u.put(ctx, path.Join(mediaFolder, names[0]), cache, []byte(text)); err != nil {
			return err
		}
		u.masters[i] = text
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

// announce writes Recording Start of each stream, when the bucket has a file of each
// rendition, or has had a file of some of them for startWait.
func (u *uploader) announce(ctx context.Context) error {
	u.mu.Lock()
	streams := u.progress.Streams[slices.Index(u.progress.Streams, u.announced)+1:]
	attached := u.streams.attached != ""
	u.mu.Unlock()
	if len(streams) == 0 || !u.mayAnnounce(attached) {
		return nil
	}
	now := time.Now()
	if u.startedAt.IsZero() {
		d := u.document(statusStarted)
		d.StartedAt = ivs.Time{Time: now}
		if err := u.putDocument(ctx, startedName, bucket.Final, d); err != nil {
			return err
		}
	}
	for _, id := range streams {
		if err := u.recorder.Store.StartRecording(ctx, u.ID, u.recorder.Owner, id, now, u.result()); err != nil {
			return err
		}
		if u.startedAt.IsZero() {
			u.startedAt = now
		}
		u.announced = id
		u.log.Info("recording has started", "stream", id)
	}
	u.firstFile = time.Time{}
	return nil
}

func (u *uploader) mayAnnounce(attached bool) bool {
	switch {
	case u.Configuration.RenditionConfiguration.RenditionSelection == ivs.RenditionsNone:
		return true
	case u.firstFile.IsZero():
		return !attached && !u.startedAt.IsZero() // the stream had nothing to record
	}
	return !attached || u.complete() || time.Since(u.firstFile) >= startWait
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
func (u *uploader) finalize(ctx context.Context) error {
	now := time.Now()
	if !u.endedAt.IsZero() {
		now = u.endedAt
	}
	u.mu.Lock()
	if u.announced == "" && u.progress.Failure == "" {
		u.progress.Failure = "the stream ended before anything of it was recorded"
	}
	lost, failure := u.lost, u.progress.Failure
	u.mu.Unlock()
	if lost {
		return errNotHeld
	}
	if err := u.writeEnd(ctx, now); err != nil {
		return err
	}
	reason := ""
	if failure != "" {
		reason = reasonInternal
	}
	return u.recordEnd(ctx, now, failure, reason)
}

// writeEnd writes the last state of every playlist, and then the JSON file.
func (u *uploader) writeEnd(ctx context.Context, now time.Time) error {
	for _, t := range u.all() {
		if t.uploads.files == 0 {
			continue
		}
		if err := t.uploads.finish(); err != nil {
			return err
		}
		if err := u.writePlaylists(ctx, t, true); err != nil {
			return err
		}
	}
	if err := u.writeMasters(ctx, bucket.Final); err != nil {
		return err
	}
	name, status := endedName, statusEnded
	failure := u.failure()
	if failure != "" {
		name, status = failedName, statusFailed
	}
	d := u.document(status)
	if failure != "" {
		d.StatusMessage = reasonInternal
	}
	started := u.startedAt
	if started.IsZero() {
		started = now
	}
	d.StartedAt, d.EndedAt = ivs.Time{Time: started}, ivs.Time{Time: now}
	ms := u.longest().Milliseconds()
	d.Media.HLS.DurationMS = &ms
	return u.putDocument(ctx, name, bucket.Final, d)
}

// document returns the content of a JSON file, without its times.
func (u *uploader) document(status string) document {
	d := newDocument(u.ChannelARN, status, u.listed())
	u.addThumbnails(&d)
	return d
}

func (u *uploader) putDocument(ctx context.Context, name, cache string, d document) error {
	b, err := d.encode()
	if err != nil {
		return err
	}
	return u.put(ctx, name, cache, b)
}

// put writes an object below the prefix.
func (u *uploader) put(ctx context.Context, name, cache string, content []byte) error {
	return u.write(ctx, func(ctx context.Context) error {
		return u.recorder.Buckets.Put(ctx, u.Bucket, u.Prefix+"/"+name, cache, bytes.NewReader(content))
	})
}

// putFile writes media, which does not change any more.
func (u *uploader) putFile(ctx context.Context, name, file string) error {
	return u.write(ctx, func(ctx context.Context) error {
		return u.recorder.Buckets.PutFile(ctx, u.Bucket, u.Prefix+"/"+name, bucket.Immutable, file)
	})
}

// putCopy writes the present content of a file.
func (u *uploader) putCopy(ctx context.Context, name, cache, file string) error {
	return u.write(ctx, func(ctx context.Context) error {
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		return u.recorder.Buckets.Put(ctx, u.Bucket, u.Prefix+"/"+name, cache, f)
	})
}

// write waits for its turn, and calls f to write an object if the recording is still this
// node's.
func (u *uploader) write(ctx context.Context, f func(context.Context) error) error {
	if err := u.checkHeld(ctx); err != nil { // before its turn, since it may take long
		return err
	}
	checked := time.Now()
	slots := u.recorder.uploads.bucket(u.Bucket)
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if time.Since(checked) > heldFor {
		if err := u.checkHeld(ctx); err != nil {
			return err
		}
	}
	return u.abortable(ctx, f)
}

// abortable calls f with a context that ends when nothing may be written any more.
func (u *uploader) abortable(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, uploadTimeout)
	defer cancel()
	if !u.mayWrite(cancel) {
		return errNotHeld
	}
	defer u.mayWrite(nil)
	return f(ctx)
}

// mayWrite sets the function that is called when the session is lost. It reports false if
// the session is lost already.
func (c *recording) mayWrite(abort context.CancelFunc) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.abort = abort
	return !c.lost
}

// endsHere waits for the end of a stream whose session is not open any more, and reports
// whether this node has ended it.
func (u *uploader) endsHere(ctx context.Context, stream string) bool {
	for deadline := time.Now().Add(lostWait); ctx.Err() == nil && time.Now().Before(deadline); sleep(ctx, 10*time.Millisecond) {
		u.mu.Lock()
		attached, lost, s := u.streams.attached == stream, u.lost, u.streams.source
		u.mu.Unlock()
		if !attached {
			return !lost
		}
		if s != nil && s.hasEnded() { // its last media is still being written into the spool
			return !s.lost.Load()
		}
	}
	return false
}

// checkHeld returns errNotHeld if nothing may be written any more.
func (u *uploader) checkHeld(ctx context.Context) error {
	u.mu.Lock()
	lost, stream := u.lost, u.streams.attached
	u.mu.Unlock()
	if lost {
		return errNotHeld
	}
	store, owner := u.recorder.Store, u.recorder.Owner
	held, err := store.RecordingHeld(ctx, u.ID, owner)
	if err == nil && held && stream != "" {
		held, err = store.SessionHeld(ctx, stream, owner)
		if err == nil && !held {
			held = u.endsHere(ctx, stream)
		}
	}
	if err != nil {
		return fmt.Errorf("look up the owner of the recording before writing: %w", err)
	}
	if !held {
		return errNotHeld
	}
	return nil
}
