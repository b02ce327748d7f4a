package record

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image/jpeg"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/millrace/millrace/internal/bucket"
	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/media"
)

const (
	// lookEvery is how often a new thumbnail of a transcoded stream is looked
	// for: of those that come every second none is missed.
	lookEvery = 250 * time.Millisecond

	// silence is how much longer than an interval a transcoder may take until key
	// frames take its place, which are in the window for longer.
	silence = 10 * time.Second

	// rounding is how much longer than its video a segment may be: what is due then
	// is due in the next one.
	rounding = 100 * time.Millisecond

	// maxRepeated bounds the time for which one image is repeated.
	maxRepeated = time.Minute

	// imageTimeout is how long ffmpeg may take for one image.
	imageTimeout = 20 * time.Second

	imageFolder = "thumbnails" // in the spool
	nextName    = "next"       // holds the number of the next thumbnail
)

// images are the thumbnails of a recording.
type images struct {
	next          int     // number of the next one
	pending       []image // that wait in the spool, oldest first
	cut           bool    // the newest were given up, so that none may follow
	width, height int     // of the latest; 0 before the first
}

// An image is a thumbnail in the spool.
type image struct {
	number int
	size   int64 // bytes
}

func imageName(number int) string { return "thumb" + strconv.Itoa(number) + ".jpg" }

// wantsThumbnails reports whether a configuration asks for any.
func wantsThumbnails(t ivs.ThumbnailConfiguration) bool {
	return t.RecordingMode == ivs.ThumbnailsInterval && t.TargetIntervalSeconds > 0
}

// A thumbnailer makes the thumbnails of one stream: one for each interval of its
// time, so that their numbers say what they show.
type thumbnailer struct {
	*recording
	source   *source
	interval time.Duration
	before   time.Duration // of media that the recording has of other streams
	video    hls.Variant
	segments *hls.Reader // of video
	due      time.Time   // program date of the next one
}

// thumbnailer returns the thumbnailer of a stream of which nothing is recorded yet; nil if
// its configuration asks for no thumbnails.
func (c *recording) thumbnailer(s *source) *thumbnailer {
	t := c.Configuration.ThumbnailConfiguration
	if !wantsThumbnails(t) {
		return nil
	}
	return &thumbnailer{recording: c, source: s, interval: time.Duration(t.TargetIntervalSeconds) * time.Second, before: c.result().Duration}
}

// run makes thumbnails until ctx is done or the stream has ended: of the
// transcoder's images while it makes some, and else of key frames.
func (m *thumbnailer) run(ctx context.Context) {
	var ok bool
	if m.video, ok = m.source.bestVideo(ctx); !ok {
		return
	}
	first, _, err := m.video.Follow(0).Next(ctx)
	if err != nil {
		return
	}
	m.begin(first.Date)
	first.Close()
	m.segments = m.video.Follow(0)
	if m.source.Thumbnail != nil {
		m.followTranscoder(ctx)
	}
	for m.nextSegment(ctx, ctx) == nil {
	}
}

// followTranscoder returns when the transcoder makes no images any more. While it
// is silent, the thumbnails that are due are made of key frames.
func (m *thumbnailer) followTranscoder(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var last time.Time
	received := time.Now()
	for {
		image, date, more := m.source.Thumbnail()
		if image != nil && date.After(last) {
			last, received = date, time.Now()
			m.addDue(image, date)
		}
		if !more || ctx.Err() != nil {
			return
		}
		if time.Since(received) > m.interval+silence {
			look, cancel := context.WithTimeout(ctx, lookEvery)
			_ = m.nextSegment(ctx, look) // its end is the transcoder's too
			cancel()
		}
		select {
		case <-tick.C:
		case <-m.source.ended:
			return
		case <-ctx.Done():
			return
		}
	}
}

// addDue adds an image of the transcoder: as often as thumbnails are due, of which
// the one before may have been missed; not at all where a key frame was there first.
func (m *thumbnailer) addDue(image []byte, date time.Time) {
	m.skipTo(date)
	for !m.due.After(date.Add(m.interval / 2)) {
		m.addImage(image)
		m.due = m.due.Add(m.interval)
	}
}

// begin has a thumbnail due at the date of the stream's first frame, or later where
// the last one of the stream before is not an interval ago.
func (m *thumbnailer) begin(date time.Time) {
	m.mu.Lock()
	made := time.Duration(m.images.next) * m.interval
	m.mu.Unlock()
	if m.before > 0 {
		date = date.Add(min(max(made-m.before, 0), m.interval))
	}
	m.due = date
}

// skipTo leaves out what was due long before a date: there was no video.
func (m *thumbnailer) skipTo(date time.Time) {
	if date.Sub(m.due) > maxRepeated {
		m.due = date
	}
}

// nextSegment waits for the next segment until wait is done, and makes the
// thumbnails that are due in it of the key frame with which it begins. The error is
// io.EOF at the end of the stream.
func (m *thumbnailer) nextSegment(ctx, wait context.Context) error {
	g, _, err := m.segments.Next(wait)
	if err != nil {
		return err
	}
	defer g.Close()
	end := g.Date.Add(g.Duration)
	m.skipTo(g.Date)
	until := end.Add(-rounding)
	if g.Gap || !g.Independent || !m.due.Before(until) {
		return nil
	}
	lines := thumbnailLines(m.Configuration.ThumbnailConfiguration.Resolution, media.Lines(m.video.Width, m.video.Height))
	image, err := m.recorder.image(ctx, g, m.video, lines)
	if err != nil && ctx.Err() == nil {
		m.log.Warn("making a thumbnail of a key frame failed", "error", err)
	}
	for m.due.Before(until) {
		if err == nil {
			m.addImage(image)
		}
		m.due = m.due.Add(m.interval)
		if m.source.Thumbnail == nil && m.due.Before(until) {
			m.due = end // segments are longer than the interval
		}
	}
	return nil
}

// bestVideo waits for the rendition with the most lines.
func (s *source) bestVideo(ctx context.Context) (hls.Variant, bool) {
	for {
		list, changed := s.Media.Renditions()
		all := make([]rendition, len(list))
		for i, v := range list {
			all[i] = rendition{v.Width, v.Height, false}
		}
		if i := best(all); i >= 0 {
			return list[i], true
		}
		select {
		case <-changed:
		case <-s.ended:
			return hls.Variant{}, false
		case <-ctx.Done():
			return hls.Variant{}, false
		}
	}
}

// image has ffmpeg decode the first video frame of a segment.
func (r *Recorder) image(ctx context.Context, g *hls.Segment, v hls.Variant, lines int) ([]byte, error) {
	select {
	case r.images <- struct{}{}:
		defer func() { <-r.images }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, imageTimeout)
	defer cancel()
	first := io.Reader(io.NewSectionReader(g.Media(), 0, g.Parts[0].Size))
	format := "mpegts"
	if g.Init.Bytes != nil {
		first, format = io.MultiReader(bytes.NewReader(g.Init.Bytes), first), "mp4"
	}
	width, height := scaled(v.Width, v.Height, lines)
	ffmpeg := exec.CommandContext(ctx, r.ffmpeg(), "-v", "error", "-nostdin", "-protocol_whitelist", "pipe", "-threads", "1", "-f", format, "-i", "pipe:0",
		"-frames:v", "1", "-vf", fmt.Sprintf("scale=%d:%d,setsar=1,format=yuvj420p", width, height), "-c:v", "mjpeg", "-q:v", "4", "-f", "image2pipe", "pipe:1")
	var problem complaint
	ffmpeg.Stdin, ffmpeg.Stderr = first, &problem
	image, err := ffmpeg.Output()
	if err != nil || len(image) == 0 {
		return nil, fmt.Errorf("ffmpeg: %w: %s", errors.Join(err, errNoImage), problem)
	}
	return image, nil
}

var errNoImage = errors.New("no image")

// scaled is a resolution with at most so many lines and the same shape.
func scaled(width, height, lines int) (w, h int) {
	have := media.Lines(width, height)
	if have <= lines {
		return width / 2 * 2, height / 2 * 2
	}
	return width * lines / have / 2 * 2, height * lines / have / 2 * 2
}

// addImage puts a thumbnail into the spool.
func (c *recording) addImage(image []byte) {
	if err := c.keepImage(image); err != nil {
		c.log.Error("a thumbnail is lost", "error", err)
		return
	}
	c.notify()
}

// keepImage ends no recording where the spool is full: the thumbnail is lost.
func (c *recording) keepImage(jpg []byte) error {
	size, err := jpeg.DecodeConfig(bytes.NewReader(jpg))
	if err != nil {
		return err
	}
	folder := filepath.Join(c.folder, imageFolder)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	n := int64(len(jpg))
	if !c.share.reserve(n) {
		return errFull
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	i := &c.images
	if i.cut {
		c.share.give(n)
		return nil
	}
	if err := os.WriteFile(filepath.Join(folder, imageName(i.next)), jpg, 0o644); err != nil {
		c.share.give(n)
		return err
	}
	i.pending = append(i.pending, image{i.next, n})
	i.next++
	i.width, i.height = size.Width, size.Height
	return i.saveNext(folder)
}

func (i *images) saveNext(folder string) error {
	return os.WriteFile(filepath.Join(folder, nextName), []byte(strconv.Itoa(i.next)), 0o644)
}

// giveUpThumbnail deletes the newest thumbnail that waits, but for the first one.
func (c *recording) giveUpThumbnail() (freed int64, more bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := &c.images
	last := len(i.pending) - 1
	if last < 1 {
		return 0, false, nil
	}
	newest := i.pending[last]
	i.pending, i.next, i.cut = i.pending[:last], newest.number, true
	c.share.give(newest.size)
	folder := filepath.Join(c.folder, imageFolder)
	return newest.size, true, errors.Join(i.saveNext(folder), os.Remove(filepath.Join(folder, imageName(newest.number))))
}

// loadImages finds the thumbnails that wait in the spool.
func (c *recording) loadImages() error {
	folder := filepath.Join(c.folder, imageFolder)
	b, err := os.ReadFile(filepath.Join(folder, nextName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	c.images.next, _ = strconv.Atoi(string(b)) // 0 if a crash has cut it off; those below are found
	entries, err := os.ReadDir(folder)
	for _, e := range entries {
		var n int
		if _, err := fmt.Sscanf(e.Name(), "thumb%d.jpg", &n); err != nil {
			continue
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		c.share.hold(info.Size())
		c.images.pending = append(c.images.pending, image{n, info.Size()})
		c.images.next = max(c.images.next, n+1)
	}
	slices.SortFunc(c.images.pending, func(a, b image) int { return a.number - b.number })
	return err
}

// uploadImages uploads the thumbnails that wait.
func (u *uploader) uploadImages(ctx context.Context) error {
	for {
		u.mu.Lock()
		pending := slices.Clone(u.images.pending)
		u.mu.Unlock()
		if len(pending) == 0 {
			return nil
		}
		first := pending[0]
		file := filepath.Join(u.folder, imageFolder, imageName(first.number))
		err := u.uploadImage(ctx, first, file, len(pending) == 1)
		if unreadable(err, u.folder) { // what waits behind it must not wait for ever
			u.log.Error("a thumbnail in the spool cannot be read: it is left out", "error", err)
		} else if err != nil {
			return err
		}
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		u.mu.Lock()
		u.images.pending = u.images.pending[1:] // giveUpThumbnail leaves the first one
		u.mu.Unlock()
		u.share.give(first.size)
	}
}

// uploadImage uploads a thumbnail, under each name that is configured.
func (u *uploader) uploadImage(ctx context.Context, i image, file string, latest bool) error {
	storage := u.Configuration.ThumbnailConfiguration.Storage
	if slices.Contains(storage, ivs.ThumbnailsSequential) {
		if err := u.putCopy(ctx, path.Join(thumbnailFolder, imageName(i.number)), bucket.Immutable, file); err != nil {
			return err
		}
	}
	if latest && slices.Contains(storage, ivs.ThumbnailsLatest) {
		return u.putCopy(ctx, latestThumbnailName, bucket.Growing, file)
	}
	return nil
}

// addThumbnails says in a JSON file where thumbnails are.
func (u *uploader) addThumbnails(d *document) {
	t := u.Configuration.ThumbnailConfiguration
	if !wantsThumbnails(t) {
		return
	}
	width, height := u.thumbnailSize()
	if slices.Contains(t.Storage, ivs.ThumbnailsSequential) {
		d.Media.Thumbnails = &documentThumbnail{thumbnailFolder, height, width}
	}
	if slices.Contains(t.Storage, ivs.ThumbnailsLatest) {
		d.Media.LatestThumbnail = &documentThumbnail{latestThumbnailName, height, width}
	}
}

// thumbnailSize is that of the latest, or the one that the first will have.
func (c *recording) thumbnailSize() (width, height int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.images.width > 0 || len(c.Ingest.Video) == 0 {
		return c.images.width, c.images.height
	}
	v := c.Ingest.Video[0]
	lines := thumbnailLines(c.Configuration.ThumbnailConfiguration.Resolution, media.Lines(v.VideoWidth, v.VideoHeight))
	return scaled(v.VideoWidth, v.VideoHeight, lines)
}
