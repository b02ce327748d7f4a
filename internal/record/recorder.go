// Package record writes what streams broadcast into buckets: the keys,
// playlists, thumbnails and JSON files of Amazon IVS's recording to S3.
//
// A recording reads finished segments of a stream and writes them into a spool
// on disk, in files of about ten seconds. From there they are uploaded in order:
// media, then the playlists that name it, then JSON. The encoder and the viewers
// never wait for a recording; a recording waits for its bucket as long as the
// spool has room.
package record

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/internal/bucket"
	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
)

const (
	// maxUploads is how many objects are written into one bucket at a time.
	maxUploads = 16

	// maxImages is how many thumbnails are made from key frames at a time.
	maxImages = 2

	// progressEvery is how often what recordings have so far is written for other nodes
	// to list.
	progressEvery = 5 * time.Second

	maxStreams = 20             // merged into one recording
	maxAge     = 48 * time.Hour // of a recording that another stream is merged into
)

// A Config holds the settings and dependencies of a Recorder.
type Config struct {
	Store    *store.DB
	Buckets  *bucket.Place
	Owner    string // this node's name, the same after a restart
	Folder   string // of the spool
	MaxSpool int64  // bytes of media in the spool
	FFmpeg   string // makes thumbnails of streams that are not transcoded; "" means "ffmpeg"
	Log      *slog.Logger

	// Patience is how long a bucket may refuse objects before its recordings fail; 0
	// means 5 minutes. A bucket that does not answer is retried forever.
	Patience time.Duration

	// OwnerGone is how long another node with recordings may be silent before this one
	// ends them with what is in their buckets; 0 means 2 minutes.
	OwnerGone time.Duration

	// OwnerLost reports whether another node is known not to be running. If it is nil, a
	// node is only judged by its silence.
	OwnerLost func(node string) bool

	// ThumbnailWait is how long the end of a stream waits for its last thumbnails; 0
	// means 1 s.
	ThumbnailWait time.Duration

	// Grace is how long recordings may take to end when the server stops; 0 means 5 s.
	// The rest waits in the spool for the next start.
	Grace time.Duration
}

// A Recorder makes all recordings of this node. Use New to make one.
type Recorder struct {
	Config
	spool   spool
	tasks   chan func(context.Context) // for Run to run
	uploads slots                      // one for each object that is being written
	owners  ownerWatch
	images  chan struct{} // holds one for each thumbnail that is being made

	following               atomic.Int64 // streams whose segments are still written to the spool
	recordedNanos, failures atomic.Int64

	mu   sync.Mutex
	open map[string]*recording // guarded by mu; by id
	last map[string]*source    // guarded by mu; the newest of each channel, until it is written

	recovered []*uploader       // found by Recover, for Run to finish
	bare      []store.Recording // those of which Recover has found nothing in the spool, for Run to end
}

// New makes a Recorder and creates its folder.
func New(c Config) (*Recorder, error) {
	r := &Recorder{Config: c, tasks: make(chan func(context.Context), 64), images: make(chan struct{}, maxImages), open: map[string]*recording{}, last: map[string]*source{}}
	r.spool.folder, r.spool.max = c.Folder, c.MaxSpool
	if err := os.MkdirAll(c.Folder, 0o700); err != nil {
		return nil, fmt.Errorf("create the spool of recordings: %w", err)
	}
	return r, nil
}

// slots bound how many objects are written at a time into each bucket, so that
// one that does not answer does not delay the others.
type slots struct {
	mu sync.Mutex
	of map[string]chan struct{} // guarded by mu; by bucket; holds one for each object
}

func (s *slots) bucket(name string) chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of[name] == nil {
		if s.of == nil {
			s.of = map[string]chan struct{}{}
		}
		s.of[name] = make(chan struct{}, maxUploads)
	}
	return s.of[name]
}

// A Stream is a live stream to be recorded.
type Stream struct {
	ChannelARN string
	StreamID   string
	Media      *hls.Stream

	// Thumbnail returns the latest image that the stream's transcoder has made, a JPEG,
	// and its program date; nil before the first. more is false once there will be no
	// others. It is nil for a stream that is not transcoded.
	Thumbnail func() (jpeg []byte, date time.Time, more bool)
}

// Start begins to record a stream that has gone live, if its configuration says so. It
// does not block. end must be called once, when the stream has ended and its last
// segments are complete; lost says that this node no longer has the session, and must
// write nothing more.
func (r *Recorder) Start(s Stream) (end func(lost bool)) {
	source := &source{Stream: s, ended: make(chan struct{}), written: make(chan struct{})}
	r.mu.Lock()
	before := r.last[s.ChannelARN]
	r.last[s.ChannelARN] = source
	r.mu.Unlock()
	r.following.Add(1)
	r.tasks <- func(ctx context.Context) {
		defer r.following.Add(-1)
		defer r.forget(source)
		if before != nil {
			<-before.written // which may be merged with this one
		}
		r.record(ctx, source)
	}
	return func(lost bool) {
		source.lost.Store(lost)
		close(source.ended)
	}
}

// A source is a Stream while it is recorded.
type source struct {
	Stream
	ended   chan struct{} // closed at its end
	written chan struct{} // closed when all that is recorded of it is in the spool
	lost    atomic.Bool
}

func (s *source) hasEnded() bool {
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

func (r *Recorder) forget(s *source) {
	close(s.written)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last[s.ChannelARN] == s {
		delete(r.last, s.ChannelARN)
	}
}

// Run records until ctx is done. By then all streams must have ended; it uploads what
// remains, within Grace.
func (r *Recorder) Run(ctx context.Context) {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var running sync.WaitGroup
	start := func(f func(context.Context)) { running.Go(func() { f(work) }) }
	for _, u := range r.recovered {
		start(func(ctx context.Context) { r.finish(ctx, u) })
	}
	for _, row := range r.bare {
		start(func(ctx context.Context) { r.adopt(ctx, row) })
	}
	r.recovered, r.bare = nil, nil
	start(func(context.Context) { r.watchOwners(ctx) })
	start(func(context.Context) { r.watchWants(ctx) })
	start(func(context.Context) { r.reportProgress(ctx) })
	for {
		select {
		case f := <-r.tasks:
			start(f)
			continue
		default:
		}
		select {
		case f := <-r.tasks:
			start(f)
			continue
		case <-ctx.Done():
		}
		break
	}
	deadline := time.After(cmp.Or(r.Grace, 5*time.Second))
	for r.busy() {
		select {
		case f := <-r.tasks:
			start(f)
		case <-time.After(20 * time.Millisecond):
		case <-deadline:
			r.Log.Warn("recordings are incomplete; they will be finished at the next start", "spool", r.Folder)
			cancel()
			running.Wait()
			return
		}
	}
	cancel()
	running.Wait()
}

// do has Run start a task, unless ctx is done: then Run may have ended.
func (r *Recorder) do(ctx context.Context, task func(context.Context)) error {
	select {
	case r.tasks <- task:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// busy reports whether anything is left to do at once.
func (r *Recorder) busy() bool {
	for _, c := range r.recordings() {
		if !c.idle() {
			return true
		}
	}
	return r.following.Load() > 0 || len(r.tasks) > 0
}

// recordings returns the recordings that have not ended.
func (r *Recorder) recordings() []*recording {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Values(r.open))
}

// reportProgress writes the progress of recordings for other nodes, where it has changed,
// until ctx is done.
func (r *Recorder) reportProgress(ctx context.Context) {
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	reported := map[string]store.RecordingResult{}
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		results, changed := map[string]store.RecordingResult{}, map[string]store.RecordingResult{}
		for _, c := range r.recordings() {
			results[c.ID] = c.result()
			if was := reported[c.ID]; was.Bytes != results[c.ID].Bytes || was.Thumbnails != results[c.ID].Thumbnails || was.Lost != results[c.ID].Lost || !was.MediaEnd.Equal(results[c.ID].MediaEnd) {
				changed[c.ID] = results[c.ID]
			}
		}
		if len(changed) > 0 {
			if err := r.Store.RecordingProgress(ctx, r.Owner, changed); err != nil {
				r.Log.Debug("writing the progress of recordings for other nodes failed", "error", err)
				continue
			}
		}
		reported = results
	}
}

// record has a stream recorded from its start to its end.
func (r *Recorder) record(ctx context.Context, s *source) {
	session, err := r.session(ctx, s)
	if err != nil {
		r.failures.Add(1)
		r.Log.Error("stream not recorded: reading its configuration failed", "channel", s.ChannelARN, "stream", s.StreamID, "error", err)
		return
	}
	if session.RecordingConfiguration == nil {
		return
	}
	c, err := r.claim(ctx, s, session)
	if err != nil {
		r.failures.Add(1)
		r.Log.Error("stream not recorded", "channel", s.ChannelARN, "stream", s.StreamID, "error", err)
		return
	}
	c.follow(ctx, s)
}

// session reads a stream's session from the database.
func (r *Recorder) session(ctx context.Context, s *source) (session ivs.StreamSession, err error) {
	err = s.retry(ctx, func() (err error) {
		session, err = r.Store.StreamSession(ctx, s.ChannelARN, s.StreamID)
		return err
	})
	return session, err
}

// retry calls f until it succeeds, with pauses of 2 s at most: nothing is lost while a
// stream's first segments are in the window, and only they are lost soon afterwards. A
// stream that has ended has ten attempts, which take 10 s.
func (s *source) retry(ctx context.Context, f func() error) (err error) {
	for try := 1; ; try++ {
		if err = f(); err == nil || ctx.Err() != nil {
			return err
		}
		if try >= 10 && s.hasEnded() {
			return err
		}
		sleep(ctx, min(time.Duration(try)*200*time.Millisecond, 2*time.Second))
	}
}

// claim returns the recording that a session's stream goes into: one that waits
// for it, or a new one.
func (r *Recorder) claim(ctx context.Context, s *source, session ivs.StreamSession) (*recording, error) {
	for _, c := range r.recordings() {
		if c.resume(session, time.Now()) {
			c.log.Info("recording continues with another stream", "stream", session.StreamID)
			return c, nil
		}
	}
	if c := r.claimElsewhere(ctx, s, session); c != nil {
		return c, nil
	}
	return r.create(ctx, s, session)
}

func (r *Recorder) create(ctx context.Context, s *source, session ivs.StreamSession) (*recording, error) {
	now := time.Now()
	arn, _ := ivs.ParseARN(session.Channel.ARN)
	m := newManifest(session, ivs.NewID(), ivs.NewID(), now)
	m.Prefix = prefixOf(arn.Account, arn.ID, m.ID, now)
	c := r.newRecording(m)
	err := os.MkdirAll(c.folder, 0o700)
	if err == nil {
		err = m.save(c.folder)
	}
	if err == nil {
		row := store.Recording{ID: m.ID, SessionID: m.SessionID, ChannelARN: m.ChannelARN, Owner: r.Owner,
			Bucket: m.Bucket, Prefix: m.Prefix, Streams: m.Streams, CreatedAt: now}
		err = s.retry(ctx, func() error {
			err := r.Store.CreateRecording(ctx, row)
			if err == nil {
				return nil
			}
			if _, known := r.Store.Recording(ctx, m.ChannelARN, m.ID); known == nil { // the last attempt succeeded, only its answer was lost
				return nil
			}
			c.log.Warn("creating a recording failed; retrying", "error", err)
			return err
		})
	}
	if err != nil {
		c.remove()
		return nil, err
	}
	c.streams.attached = session.StreamID
	r.add(c)
	return c, r.do(ctx, func(ctx context.Context) { r.finish(ctx, &uploader{recording: c}) })
}

func (r *Recorder) newRecording(m manifest) *recording {
	c := &recording{
		identity: m.identity, progress: m.progress, recorder: r, folder: filepath.Join(r.Folder, m.ID),
		wake: make(chan struct{}, 1), cancelled: make(chan struct{}),
		log: r.Log.With("channel", m.ChannelARN, "recording", m.Prefix, "bucket", m.Bucket),
	}
	c.share = r.spool.share(c)
	return c
}

func (r *Recorder) add(c *recording) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open[c.ID] = c
}

// finish uploads a recording until its end.
func (r *Recorder) finish(ctx context.Context, u *uploader) {
	u.upload(ctx)
	if ctx.Err() != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.open, u.ID)
}

// Recover resumes the recordings that this node had when it was last stopped or killed:
// it uploads what is in the spool, and each ends unless a stream continues it within its
// window. It must be called once, before Run.
func (r *Recorder) Recover(ctx context.Context) error {
	rows, err := r.Store.OpenRecordings(ctx, r.Owner)
	if err != nil {
		return err
	}
	failed, err := r.failedRows(ctx)
	if err != nil {
		return err
	}
	open := map[string]bool{}
	for _, row := range append(rows, failed...) {
		open[row.ID] = true
		u, err := r.load(row)
		if err != nil {
			r.Log.Error("the spool of a recording is lost: it is ended with what is in its bucket", "channel", row.ChannelARN, "recording", row.Prefix, "error", err)
			r.bare = append(r.bare, row)
			continue
		}
		u.log.Warn("resuming a recording that was open when the server stopped")
		r.recovered = append(r.recovered, u)
	}
	return r.removeOthers(open)
}

// failedRows returns the recordings that have ended with a failure in the database
// because their buckets accepted nothing: the spool still has media for these buckets.
func (r *Recorder) failedRows(ctx context.Context) (rows []store.Recording, err error) {
	entries, err := os.ReadDir(r.Folder)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		m, err := loadManifest(filepath.Join(r.Folder, e.Name()))
		if err != nil || m.Failure == "" {
			continue
		}
		row, err := r.Store.Recording(ctx, m.ChannelARN, m.ID)
		switch {
		case ivs.Is(err, ivs.NotFound):
		case err != nil:
			return nil, err
		case row.Owner == r.Owner && !row.EndedAt.IsZero():
			rows = append(rows, row)
		}
	}
	return rows, nil
}

// load opens a recording from the spool and registers it.
func (r *Recorder) load(row store.Recording) (*uploader, error) {
	m, err := loadManifest(filepath.Join(r.Folder, row.ID))
	if err != nil {
		return nil, err
	}
	c := r.newRecording(m)
	u := &uploader{recording: c, endedAt: row.EndedAt}
	if m.Failure != "" {
		c.failed = true
		close(c.cancelled)
	}
	var ended []span
	for _, name := range m.Tracks {
		t, short, err := openTrack(c.trackFolder(name), m.FMP4, c.share)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was about to be made
		}
		if err != nil { // the others are kept
			c.fail(fmt.Errorf("a rendition in the spool cannot be read: %w", err))
			continue
		}
		if short > 0 { // a kill of the process does not shorten files
			c.log.Error("the disk has lost media that was recorded: the machine has crashed, or its spool was changed", "rendition", name, "lost", short)
		}
		if t.queue.cut { // a kill has come before the failure was saved
			c.fail(errFull)
		}
		c.tracks = append(c.tracks, t)
		ended = merge(ended, t.spans)
		if t.uploads.files > 0 && row.StartedAt.IsZero() {
			u.firstFile = time.Now() // it was about to be announced
		}
	}
	if !row.StartedAt.IsZero() {
		u.announced, u.startedAt = row.Streams[len(row.Streams)-1], row.StartedAt
		u.found = true // a bucket that refuses now may do so for a while
	}
	if err := c.loadImages(); err != nil {
		c.log.Error("thumbnails in the spool cannot be read", "error", err)
	}
	c.streams.restore(ended)
	if !c.failed {
		c.align()
	}
	c.streams.until = time.Now().Add(c.window())
	r.add(c)
	return u, nil
}

// removeOthers removes the files of ended recordings from the spool.
func (r *Recorder) removeOthers(open map[string]bool) error {
	entries, err := os.ReadDir(r.Folder)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !open[e.Name()] {
			if err := os.RemoveAll(filepath.Join(r.Folder, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// Stats are figures of a Recorder.
type Stats struct {
	Recording  int           // streams that are being recorded
	Waiting    int           // recordings without a stream: they are being finished, or wait for the next stream
	SpoolBytes int64         // of media in the spool
	Lag        time.Duration // how long the oldest file has waited to be uploaded
	Recorded   time.Duration // media that reached buckets, of the longest rendition of each, since the start
	Failures   int64         // recordings that failed since the start
	Lost       time.Duration // media of all renditions that was live since the start and will not be in a bucket
}

// Stats returns the present figures.
func (r *Recorder) Stats() Stats {
	s := Stats{SpoolBytes: r.spool.bytes(), Lost: time.Duration(r.spool.lost.Load()), Recorded: time.Duration(r.recordedNanos.Load()), Failures: r.failures.Load()}
	now := time.Now()
	for _, c := range r.recordings() {
		s.Lag = max(s.Lag, c.lag(now))
		if c.idleStream() {
			s.Waiting++
		} else {
			s.Recording++
		}
	}
	return s
}

// Recorded returns, for each channel with open recordings, how much media they have in
// their buckets, of the longest rendition of each.
func (r *Recorder) Recorded() map[string]time.Duration {
	all := map[string]time.Duration{}
	for _, c := range r.recordings() {
		all[c.ChannelARN] += c.longest()
	}
	return all
}

func (r *Recorder) ffmpeg() string { return cmp.Or(r.FFmpeg, "ffmpeg") }

func (r *Recorder) thumbnailWait() time.Duration { return cmp.Or(r.ThumbnailWait, time.Second) }

func (r *Recorder) patience() time.Duration { return cmp.Or(r.Patience, 5*time.Minute) }

// sleep waits for d, or for the end of ctx.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
