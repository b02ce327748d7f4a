package record

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/bucket"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
)

const (
	// maxPlaylist bounds a playlist that is read from a bucket: 48 hours with an
	// entry a second have 30 MB.
	maxPlaylist = 64 << 20

	// tolerance is how much of a stream's end may be missing in the bucket of a
	// recording that is whole: sessions end a moment after their media.
	tolerance = 2 * time.Second

	// numbersLeft is how many numbers of files are left out in a recording that
	// another node had: a write of that node may still be on its way.
	numbersLeft = 8
)

// restore makes the folder of a recording in this node's spool from what is in
// its bucket: the node that had it before has passed it on, or is gone with what waited
// in its own spool. What is missing of the last stream is a gap; with final, the
// recording ends with that failure.
func (r *Recorder) restore(ctx context.Context, row store.Recording, final bool) error {
	node := row.Owner
	row, err := r.Store.Recording(ctx, row.ChannelARN, row.ID) // as it is now that it is this node's
	if err != nil {
		return err
	}
	m, left, err := r.manifestOf(ctx, row)
	if err != nil {
		return err
	}
	if !row.MediaEnd.IsZero() { // the node has said how far the stream went
		left = row.MediaEnd
	}
	if err := r.findRecording(ctx, row); err != nil {
		return err
	}
	objects, err := r.Buckets.List(ctx, m.Bucket, m.Prefix+"/media/")
	if err != nil {
		return err
	}
	x := &restorer{buckets: r.Buckets, manifest: m, folder: filepath.Join(r.Folder, m.ID), left: left, sizes: map[string]int64{}}
	for _, o := range objects {
		x.sizes[strings.TrimPrefix(o.Key, m.Prefix+"/")] = o.Size
	}
	if err := errors.Join(os.RemoveAll(x.folder), os.MkdirAll(x.folder, 0o700)); err != nil {
		return err
	}
	if err := errors.Join(x.tracks(ctx), x.images()); err != nil {
		return err
	}
	if x.lost > 0 {
		r.Log.Warn("the end of a stream is missing in its bucket: the node that recorded it is gone", "channel", m.ChannelARN, "recording", m.Prefix, "node", node, "missing", x.lost.Round(time.Millisecond))
	}
	if final && x.lost > tolerance {
		x.manifest.Failure = fmt.Sprintf("node %s is gone, and with it what was not in bucket %s yet: %v of the stream", node, m.Bucket, x.lost.Round(time.Second))
	}
	return x.manifest.save(x.folder) // last: a folder without it is made again
}

// findRecording returns an error unless the bucket is there and has the first object of
// a recording that has started. A bucket that is unreachable, as a folder that is not mounted,
// must not be taken for an empty one: what it has would be written over.
func (r *Recorder) findRecording(ctx context.Context, row store.Recording) error {
	if err := r.Buckets.Find(ctx, row.Bucket); err != nil || row.StartedAt.IsZero() {
		return err
	}
	f, _, err := r.Buckets.Get(ctx, row.Bucket, row.Prefix+"/"+startedName)
	if err != nil {
		return err
	}
	return f.Close()
}

// manifestOf is a recording as the database has it, and when its last stream
// ended, by the clock of the node that had it: at its last heartbeat if it has died.
func (r *Recorder) manifestOf(ctx context.Context, row store.Recording) (m manifest, left time.Time, err error) {
	first, err := r.Store.StreamSession(ctx, row.ChannelARN, row.Streams[0])
	if err != nil {
		return m, left, err
	}
	last, err := r.Store.StreamSession(ctx, row.ChannelARN, row.Streams[len(row.Streams)-1])
	if err != nil {
		return m, left, err
	}
	m = newManifest(first, row.ID, row.SessionID, row.CreatedAt)
	m.Bucket, m.Prefix, m.Streams = row.Bucket, row.Prefix, row.Streams
	return m, last.EndTime.Time, nil
}

// newManifest is that of a recording whose first stream is a session's.
func newManifest(s ivs.StreamSession, id, sessionID string, at time.Time) manifest {
	m := manifest{identity{ID: id, SessionID: sessionID, ChannelARN: s.Channel.ARN, ChannelType: s.Channel.Type,
		FMP4: s.Channel.ContainerFormat == ivs.ContainerFMP4, CreatedAt: at}, progress{Streams: []string{s.StreamID}}}
	if s.RecordingConfiguration != nil {
		m.Configuration = *s.RecordingConfiguration
		m.Bucket = s.RecordingConfiguration.DestinationConfiguration.S3.BucketName
	}
	if s.IngestConfigurations != nil {
		m.Ingest = *s.IngestConfigurations
	}
	return m
}

// A restorer makes the folder of one recording.
type restorer struct {
	buckets  *bucket.Place
	manifest manifest
	folder   string
	left     time.Time        // when the last media of the last stream came; zero if it continues
	sizes    map[string]int64 // of the objects, by name below the prefix
	end      time.Time        // of the track that has most; zero before any has something
	lost     time.Duration    // what is missing there
}

// get reads an object below the prefix; nil if it is not there.
func (x *restorer) get(ctx context.Context, name string) ([]byte, error) {
	f, _, err := x.buckets.Get(ctx, x.manifest.Bucket, x.manifest.Prefix+"/"+name)
	if errors.Is(err, bucket.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxPlaylist))
}

func (x *restorer) tracks(ctx context.Context) error {
	master, err := x.get(ctx, path.Join(mediaFolder, multivariantName))
	if err != nil {
		return err
	}
	variants := parseMultivariant(string(master))
	var names []string
	for name := range x.sizes {
		if folder, file := path.Split(name); file == playlistName {
			names = append(names, path.Base(folder))
		}
	}
	slices.Sort(names)
	files := map[string][]listedFile{}
	for _, name := range names {
		if files[name], err = x.files(ctx, name); err != nil {
			return fmt.Errorf("rendition %s: %w", name, err)
		}
		for _, f := range files[name] {
			if end := f.line.Date.Add(f.line.Duration); end.After(x.end) {
				x.end = end
			}
		}
	}
	if missing := x.left.Sub(x.end); !x.end.IsZero() && missing > hole {
		x.lost = missing
	}
	for _, name := range names {
		v := variants[name]
		v.Name = name
		if err := x.track(ctx, v, files[name]); err != nil {
			return fmt.Errorf("rendition %s: %w", name, err)
		}
		x.manifest.Tracks = append(x.manifest.Tracks, name)
	}
	return nil
}

// files are those that the playlists of a track list.
func (x *restorer) files(ctx context.Context, track string) ([]listedFile, error) {
	plain, err := x.get(ctx, path.Join(mediaFolder, track, playlistName))
	if err != nil {
		return nil, err
	}
	ranges, err := x.get(ctx, path.Join(mediaFolder, track, byteRangePlaylistName))
	if err != nil {
		return nil, err
	}
	return join(parsePlaylist(string(plain)), parsePlaylist(string(ranges))), nil
}

// track writes the journal from which openTrack makes a track of its files, and the init
// segment with which it continues. What others have behind them is not lost: the
// rendition has ended before, or is late.
func (x *restorer) track(ctx context.Context, v variant, files []listedFile) error {
	folder := filepath.Join(x.folder, v.Name)
	if err := os.Mkdir(folder, 0o755); err != nil {
		return err
	}
	j := &journalWriter{}
	j.write(journalLine{Variant: &v})
	next, inits := x.numbers(v.Name)
	for n := range inits {
		j.write(journalLine{Init: &n})
		init, err := x.get(ctx, path.Join(mediaFolder, v.Name, initName(n)))
		if err == nil {
			err = writeSynced(filepath.Join(folder, initName(n)), init)
		}
		if err != nil {
			return err
		}
	}
	end := time.Time{}
	for _, e := range files {
		next = max(next, e.line.File+1)
		end = e.line.Date.Add(e.line.Duration)
		x.listed(j, v.Name, e)
	}
	next += numbersLeft
	gap := func(to time.Time, lost bool) {
		missing := to.Sub(end)
		if end.IsZero() || missing <= hole {
			return
		}
		for ; missing > 0; missing -= target {
			d := min(missing, target)
			j.write(journalLine{Segment: &segmentLine{File: next, Duration: d, Date: end, Gap: true, Lost: lost, Init: inits - 1}})
			end, next = end.Add(d), next+1
		}
	}
	gap(x.end, false)
	gap(x.left, true)
	j.write(journalLine{Next: &next})
	return errors.Join(j.err, writeSynced(filepath.Join(folder, journalName), j.text.Bytes()))
}

// numbers are that of the file behind the last one of a track that is in the
// bucket, listed or not, and how many init segments there are.
func (x *restorer) numbers(track string) (next, inits int64) {
	for name := range x.sizes {
		folder, file := path.Split(name)
		if path.Base(folder) != track {
			continue
		}
		var n int64
		if _, err := fmt.Sscanf(file, "init-%d.mp4", &n); err == nil {
			inits = max(inits, n+1)
		} else if n, err := strconv.ParseInt(strings.TrimSuffix(file, path.Ext(file)), 10, 64); err == nil {
			next = max(next, n+1)
		}
	}
	return next, inits
}

// listed writes the journal's lines for a file that the playlists list.
func (x *restorer) listed(j *journalWriter, track string, e listedFile) {
	l := e.line
	if l.Gap {
		if !e.lost {
			j.write(journalLine{Segment: &l})
			return
		}
		l.Gap = false // of the file of that number, which has lost its end
		whole := 0
		if j.last == l.File && j.any {
			whole = 1
		}
		j.write(journalLine{Segment: &l})
		j.write(journalLine{Short: &shortLine{l.File, whole}})
		return
	}
	l.Size = x.sizes[path.Join(mediaFolder, track, e.name)]
	sum := int64(0)
	for _, c := range l.Cuts {
		sum += c.Size
	}
	if sum != l.Size || len(l.Cuts) == 0 { // the byte-range playlist was not written again
		l.Cuts = []cut{{Size: l.Size, Duration: l.Duration}}
	}
	j.write(journalLine{Segment: &l})
}

// A journalWriter writes the lines of a journal.
type journalWriter struct {
	text bytes.Buffer
	err  error
	last int64 // file of the last segment
	any  bool  // there is one
}

func (j *journalWriter) write(l journalLine) {
	b, err := json.Marshal(l)
	j.err = errors.Join(j.err, err)
	j.text.Write(append(b, '\n'))
	if l.Segment != nil {
		j.last, j.any = l.Segment.File, true
	}
}

// images continues the thumbnails behind those that are in the bucket.
func (x *restorer) images() error {
	i := images{}
	for name := range x.sizes {
		var n int
		if _, err := fmt.Sscanf(name, thumbnailFolder+"/thumb%d.jpg", &n); err == nil {
			i.next = max(i.next, n+1)
		}
	}
	folder := filepath.Join(x.folder, imageFolder)
	return errors.Join(os.Mkdir(folder, 0o755), i.saveNext(folder))
}

// A listedFile is a file as one of a recording's playlists has it.
type listedFile struct {
	name string
	lost bool // the gap in the place of what a file has lost
	line segmentLine
}

// parsePlaylist reads what appendFile or appendCuts has written: of a file that is
// cut, one listedFile with all cuts.
func parsePlaylist(text string) (all []listedFile) {
	e := listedFile{line: segmentLine{Init: -1}}
	var c cut
	for line := range strings.Lines(text) {
		tag, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch tag {
		case "#EXT-X-DATERANGE":
			e.line.Tags += line
		case "#EXT-X-DISCONTINUITY":
			e.line.Discontinuity = true
		case "#EXT-X-GAP":
			e.line.Gap = true
		case "#EXT-X-MAP":
			_, _ = fmt.Sscanf(value, `URI="init-%d.mp4"`, &e.line.Init) // as appendHead has written it
		case "#EXT-X-PROGRAM-DATE-TIME":
			e.line.Date, _ = time.Parse(time.RFC3339Nano, value)
		case "#EXTINF":
			e.line.Duration = parseDuration(value)
		case "#EXT-X-BYTERANGE":
			_, _ = fmt.Sscanf(value, "%d@%d", &c.Size, &c.Offset)
		default:
			if tag == "" || tag[0] == '#' {
				continue
			}
			all = addListed(all, e, tag, c)
			e, c = listedFile{line: segmentLine{Init: e.line.Init}}, cut{}
		}
	}
	return all
}

// addListed adds an entry of a playlist that has that name.
func addListed(all []listedFile, e listedFile, name string, c cut) []listedFile {
	number, lost := strings.CutPrefix(name, lostPrefix)
	n, err := strconv.ParseInt(strings.TrimSuffix(number, path.Ext(number)), 10, 64)
	if err != nil {
		return all
	}
	e.name, e.lost, e.line.File = name, lost, n
	c.Duration, c.Date = e.line.Duration, e.line.Date
	if last := len(all) - 1; last >= 0 && all[last].name == name {
		all[last].line.Duration += c.Duration
		all[last].line.Cuts = append(all[last].line.Cuts, c)
		return all
	}
	if c.Size > 0 {
		e.line.Cuts = []cut{c}
	}
	return append(all, e)
}

func parseDuration(value string) time.Duration {
	seconds, _ := strconv.ParseFloat(strings.TrimSuffix(value, ","), 64)
	return time.Duration(seconds*1e5+0.5) * 10 * time.Microsecond
}

// join merges the files of two playlists. Files that are in both have the cuts of the
// second one.
func join(plain, ranges []listedFile) []listedFile {
	cuts := map[string]listedFile{}
	for _, e := range ranges {
		cuts[e.name] = e
	}
	for i, e := range plain {
		plain[i].line.Cuts = cuts[e.name].line.Cuts
		delete(cuts, e.name)
	}
	for _, e := range ranges {
		if _, more := cuts[e.name]; more {
			plain = append(plain, e)
		}
	}
	slices.SortStableFunc(plain, func(a, b listedFile) int { return cmp.Compare(a.line.File, b.line.File) })
	return plain
}

// parseMultivariant reads the variants that multivariant has written, by their
// folders.
func parseMultivariant(text string) map[string]variant {
	all := map[string]variant{}
	var v variant
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if attributes, ok := strings.CutPrefix(line, "#EXT-X-STREAM-INF:"); ok {
			v = variant{Codecs: attribute(attributes, "CODECS"), Captions: attribute(attributes, "CLOSED-CAPTIONS") == "captions"}
			_, _ = fmt.Sscanf(attribute(attributes, "RESOLUTION"), "%dx%d", &v.Width, &v.Height) // none for audio alone
			v.FrameRate, _ = strconv.ParseFloat(attribute(attributes, "FRAME-RATE"), 64)
		} else if line != "" && line[0] != '#' {
			all[path.Dir(line)] = v
		}
	}
	return all
}

// attribute is the value of one in an attribute list, without quotes.
func attribute(list, name string) string {
	_, value, _ := strings.Cut(","+list, ","+name+"=")
	if quoted, ok := strings.CutPrefix(value, `"`); ok {
		value, _, _ = strings.Cut(quoted, `"`)
		return value
	}
	value, _, _ = strings.Cut(value, ",")
	return value
}
