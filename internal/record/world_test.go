package record_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/bucket"
	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/hls/hlscheck"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/logs/logstest"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/media/mediatest"
	"github.com/millrace/millrace/internal/record"
	"github.com/millrace/millrace/internal/segment"
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/store/storetest"
)

const (
	owner      = "node1"
	bucketName = "recordings"
)

// place is where buckets are; "" means in the world's folder.
var place string

// patience is how long a test waits for what must come.
const patience = 90 * time.Second

// A world is a channel that is recorded into a folder.
type world struct {
	t        testing.TB
	db       *store.DB
	owner    string // the node's name
	place    string // folder of buckets
	buckets  *bucket.Place
	spool    string
	maxSpool int64
	grace    time.Duration
	images   time.Duration // ThumbnailWait of the recorder; 0 means as long as a test waits
	ffmpeg   string
	patience time.Duration    // of the recorder; 0 means a second
	log      *logstest.Buffer // what the recorder logs
	gone     time.Duration    // OwnerGone of the recorder
	lost     func(node string) bool
	ago      time.Duration // how long before now streams begin
	fast     time.Duration // how far the clock of the node that has the streams is ahead
	closing  time.Duration // how long after their encoders have left sessions end
	channel  ivs.Channel
	recorder *record.Recorder
	stop     func()            // of the recorder
	checked  map[string]string // playlists as check has seen them, by key
}

// newWorld makes a channel whose configuration is the default, changed by
// change, which may be nil, and runs a recorder.
func newWorld(t testing.TB, container string, change func(*ivs.RecordingConfiguration)) *world {
	t.Helper()
	return newWorldIn(t, t.TempDir(), container, change)
}

func newWorldIn(t testing.TB, dir, container string, change func(*ivs.RecordingConfiguration)) *world {
	t.Helper()
	w := openWorld(t, dir)
	w.must(w.buckets.Check(t.Context(), bucketName))
	c := ivs.RecordingConfiguration{ARN: "arn:aws:ivs:us-west-2:111122223333:recording-configuration/6wv50aaqsZnf", Name: "demo-rec", State: ivs.RecordingActive}
	c.DestinationConfiguration.S3.BucketName = bucketName
	c.ThumbnailConfiguration.RecordingMode = ivs.ThumbnailsDisabled
	c.RenditionConfiguration.RenditionSelection = ivs.RenditionsAll
	if change != nil {
		change(&c)
	}
	w.must(w.db.RecordingConfigurations().Create(t.Context(), c, 20, false))
	w.channel = ivs.NewChannel("111122223333", "us-west-2")
	w.channel.Name, w.channel.ContainerFormat, w.channel.RecordingConfigurationARN = "demo", container, c.ARN
	w.must(w.db.CreateChannel(t.Context(), w.channel, ivs.NewStreamKey("111122223333", "us-west-2", w.channel.ARN)))
	w.start()
	return w
}

// openWorld opens what is in a folder, without a channel and a recorder.
func openWorld(t testing.TB, dir string) *world {
	t.Helper()
	if testing.Short() {
		t.Skip("records streams into a bucket")
	}
	w := &world{t: t, owner: owner, log: &logstest.Buffer{}, db: storetest.Open(t, filepath.Join(dir, "db")), place: filepath.Join(dir, "buckets"), spool: filepath.Join(dir, "spool"), maxSpool: 1 << 30}
	var err error
	w.buckets, err = bucket.Open(t.Context(), cmp.Or(place, w.place), "us-west-2")
	w.must(err)
	return w
}

func (w *world) must(errs ...error) {
	w.t.Helper()
	for _, err := range errs {
		if err != nil {
			w.t.Fatal(err)
		}
	}
}

// start runs the recorder, as a server that starts does.
func (w *world) start() {
	w.t.Helper()
	var err error
	w.recorder, err = record.New(record.Config{Store: w.db, Buckets: w.buckets, Owner: w.owner, OwnerGone: w.gone, OwnerLost: w.lost, Folder: w.spool, MaxSpool: w.maxSpool, Patience: cmp.Or(w.patience, time.Second), Grace: w.grace, ThumbnailWait: cmp.Or(w.images, patience), FFmpeg: w.ffmpeg,
		Log: slog.New(slog.NewTextHandler(io.MultiWriter(w.t.Output(), w.log), &slog.HandlerOptions{Level: slog.LevelDebug}))})
	w.must(err)
	w.must(w.recorder.Recover(w.t.Context()))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	r := w.recorder
	go func() {
		defer close(done)
		r.Run(ctx)
	}()
	stopped := false
	w.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		<-done
	}
	w.t.Cleanup(w.stop)
}

func (w *world) restart() {
	w.t.Helper()
	w.stop()
	w.start()
}

// A broadcast is a stream of the world's channel.
type broadcast struct {
	w      *world
	id     string
	stream *hls.Stream
	source *segment.Leader
	end    func(lost bool)

	followers []*segment.Follower // which write what the source does
}

var testIngest = ivs.IngestConfigurations{
	Video: []ivs.VideoConfiguration{{Codec: "avc1.64002A", TargetBitrate: 1_000_000, TargetFramerate: 30, VideoWidth: 160, VideoHeight: 90, Track: "track0"}},
	Audio: []ivs.AudioConfiguration{{Codec: "mp4a.40.2", SampleRate: 48000, Channels: 2, Track: "track0"}},
}

// goLive begins a stream and its recording.
func (w *world) goLive(ingest ivs.IngestConfigurations) *broadcast {
	w.t.Helper()
	b := w.connect()
	b.source = segment.NewLeader(b.stream.AddRendition("source", hls.Listing{}))
	b.source.SetEpoch(b.now().Add(-w.ago))
	b.begin(ingest)
	return b
}

// connect begins a session, whose stream has no rendition yet.
func (w *world) connect() *broadcast {
	w.t.Helper()
	b := &broadcast{w: w, id: ivs.NewStreamID()}
	w.must(w.db.CreateSession(w.t.Context(), store.NewSession{ChannelARN: w.channel.ARN, StreamID: b.id, Owner: w.owner, At: b.now()}))
	b.stream = &hls.Stream{LowLatency: true, Window: time.Hour, MaxBytes: 1 << 30, TargetDuration: 2 * time.Second}
	if w.channel.ContainerFormat == ivs.ContainerFMP4 {
		b.stream.Container = hls.FMP4
	}
	return b
}

// now is the clock of the node that has the stream.
func (b *broadcast) now() time.Time { return time.Now().Add(b.w.fast) }

// begin has the stream recorded.
func (b *broadcast) begin(ingest ivs.IngestConfigurations) {
	b.w.t.Helper()
	b.w.must(b.w.db.StartStream(b.w.t.Context(), b.id, b.now(), ingest))
	b.end = b.w.recorder.Start(record.Stream{ChannelARN: b.w.channel.ARN, StreamID: b.id, Media: b.stream})
}

func (b *broadcast) write(frames []media.Frame) {
	b.w.t.Helper()
	for _, f := range frames {
		b.w.must(b.source.WriteFrame(f))
		for _, other := range b.followers {
			b.w.must(other.WriteFrame(f))
		}
	}
}

// leave ends the stream, in the order in which a session does.
func (b *broadcast) leave() {
	b.w.t.Helper()
	b.w.must(b.source.Close())
	for _, other := range b.followers {
		b.w.must(other.Close())
	}
	b.finish()
}

// finish ends the session of a stream whose renditions have ended.
func (b *broadcast) finish() {
	b.w.t.Helper()
	left := b.now()
	b.w.must(b.w.db.WriteEnd(b.w.t.Context(), store.End{StreamID: b.id, Left: left, Ended: left.Add(b.w.closing)}))
	b.end(false)
	b.w.t.Cleanup(b.stream.Release)
}

// numbered returns seconds of test video, a multiple of 4, in which each frame
// has a number, counted from first on.
func numbered(t testing.TB, seconds int, first *int) []media.Frame {
	t.Helper()
	return numberedSize(t, "", seconds, first)
}

// numberedSize does that in another resolution than that of the test ingest.
func numberedSize(t testing.TB, size string, seconds int, first *int) []media.Frame {
	t.Helper()
	frames := mediatest.Source{Seconds: 4, Size: size}.Frames(t)
	frames = mediatest.Repeat(frames, 4*time.Second, seconds/4)
	for i, f := range frames {
		if f.Track.IsVideo() {
			frames[i].Data = append(f.Track.Codec.AppendStamp(nil, stampOf(*first)), f.Data...)
			*first++
		}
	}
	return frames
}

func stampOf(number int) time.Time { return time.Unix(1_700_000_000, int64(number)) }

// numbers finds the frames' numbers in TS or fMP4.
func numbers(container string, file []byte) (all []int) {
	if container == ivs.ContainerTS {
		file = videoPayload(file)
	}
	for {
		at, rest, ok := media.NextStamp(file)
		if !ok {
			return all
		}
		all, file = append(all, at.Nanosecond()), rest
	}
}

// videoPayload takes the transport packets of the video apart.
func videoPayload(ts []byte) (payload []byte) {
	for ; len(ts) >= 188; ts = ts[188:] {
		if binary.BigEndian.Uint16(ts[1:])&0x1fff != 0x100 {
			continue
		}
		begin := 4
		if ts[3]&0x20 != 0 {
			begin += 1 + int(ts[4])
		}
		payload = append(payload, ts[begin:188]...)
	}
	return payload
}

// wait waits for a condition that must come true.
func (w *world) wait(what string, ok func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("waited in vain for %s", what)
		}
	}
}

// recordings are those of the channel, newest first.
func (w *world) recordings() []store.Recording {
	w.t.Helper()
	all, err := w.db.Recordings(w.t.Context(), w.channel.ARN)
	w.must(err)
	return all
}

// ended waits for the end of the channel's newest recording.
func (w *world) ended() store.Recording {
	w.t.Helper()
	var r store.Recording
	w.wait("the end of the recording", func() bool {
		all := w.recordings()
		if len(all) == 0 {
			return false
		}
		r = all[0]
		return !r.EndedAt.IsZero()
	})
	return r
}

// object reads one below a recording's prefix, again if it is replaced meanwhile.
func (w *world) object(r store.Recording, name string) (b []byte) {
	w.t.Helper()
	w.wait(name, func() bool {
		f, _, err := w.buckets.Get(w.t.Context(), r.Bucket, r.Prefix+"/"+name)
		w.must(err)
		defer f.Close()
		b, err = io.ReadAll(f)
		if err != nil {
			w.t.Logf("reading %s: %v", name, err) // versitygw replaces an object and its checksum one after the other
		}
		return err == nil
	})
	return b
}

// An entry is one of a media playlist.
type entry struct {
	name          string
	duration      time.Duration
	date          time.Time
	discontinuity bool
	gap           bool
	init          string
	offset, size  int64 // size is 0 without EXT-X-BYTERANGE
}

// playlist reads a media playlist of a recording.
func (w *world) playlist(r store.Recording, name string) (entries []entry, ended bool) {
	w.t.Helper()
	var e entry
	init := ""
	for line := range strings.Lines(string(w.object(r, name))) {
		tag, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch tag {
		case "#EXT-X-DISCONTINUITY":
			e.discontinuity = true
		case "#EXT-X-GAP":
			e.gap = true
		case "#EXT-X-ENDLIST":
			ended = true
		case "#EXT-X-MAP":
			init = strings.Trim(strings.TrimPrefix(value, "URI="), `"`)
		case "#EXT-X-PROGRAM-DATE-TIME":
			var err error
			e.date, err = time.Parse(time.RFC3339, value)
			w.must(err)
		case "#EXTINF":
			seconds, err := strconv.ParseFloat(strings.TrimSuffix(value, ","), 64)
			w.must(err)
			e.duration = time.Duration(seconds * float64(time.Second))
		case "#EXT-X-BYTERANGE":
			if _, err := fmt.Sscanf(value, "%d@%d", &e.size, &e.offset); err != nil {
				w.t.Fatalf("%s: %v", line, err)
			}
		default:
			if !strings.HasPrefix(tag, "#") && tag != "" {
				e.name, e.init = tag, init
				entries = append(entries, e)
				e = entry{}
			}
		}
	}
	return entries, ended
}

// whole checks that the recording plays from the first to the last frame: both
// playlists of a track name each byte once, and each frame of [first, end) is
// there once. It returns the entries of the playlist of files.
func (w *world) whole(r store.Recording, track string, first, end int) []entry {
	w.t.Helper()
	folder := "media/hls/" + track + "/"
	entries, _ := w.playlist(r, folder+"playlist.m3u8")
	ranges, _ := w.playlist(r, folder+"byte-range-variant.m3u8")
	w.check(r, track, true)
	var got []int
	var inRanges bytes.Buffer
	for _, e := range entries {
		if e.gap {
			continue
		}
		file := w.object(r, folder+e.name)
		got = append(got, numbers(w.channel.ContainerFormat, file)...)
		inRanges.Reset()
		var sum time.Duration
		for _, g := range ranges {
			if g.name == e.name {
				inRanges.Write(file[g.offset : g.offset+g.size])
				sum += g.duration
			}
		}
		if !bytes.Equal(inRanges.Bytes(), file) || (sum-e.duration).Abs() > time.Millisecond {
			w.t.Errorf("%s has %d bytes and %v; its ranges have %d and %v", e.name, len(file), e.duration, inRanges.Len(), sum)
		}
		if e.duration.Round(time.Second) > 10*time.Second {
			w.t.Errorf("%s lasts %v", e.name, e.duration)
		}
	}
	slices.Sort(got) // B-frames
	for i, n := range got {
		if n != first+i {
			w.t.Fatalf("frame %d follows frame %d", n, first+i-1)
		}
	}
	if len(got) != end-first {
		w.t.Errorf("%d frames are recorded, want %d", len(got), end-first)
	}
	return entries
}

// perGOP checks that a byte-range playlist has an entry for each group of pictures
// of the test video.
func (w *world) perGOP(r store.Recording, track string) {
	w.t.Helper()
	folder := "media/hls/" + track + "/"
	ranges, _ := w.playlist(r, folder+"byte-range-variant.m3u8")
	for i, e := range ranges {
		file := w.object(r, folder+e.name)
		all := numbers(w.channel.ContainerFormat, file[e.offset:e.offset+e.size])
		slices.Sort(all)
		if len(all) != gop || all[0] != i*gop || e.duration.Round(time.Millisecond) != 2*time.Second {
			w.t.Errorf("entry %d has the frames %v in %v", i, all, e.duration)
		}
	}
}

// check holds the playlists of a track against the rules of HLS. What they were
// the last time must still be true.
func (w *world) check(r store.Recording, track string, ended bool) {
	w.t.Helper()
	folder := r.Prefix + "/media/hls/" + track + "/"
	size := func(uri string) (int64, bool) {
		f, o, err := w.buckets.Get(w.t.Context(), r.Bucket, folder+uri)
		if err != nil {
			return 0, false
		}
		f.Close()
		return o.Size, true
	}
	for _, name := range []string{"playlist.m3u8", "byte-range-variant.m3u8"} {
		text := string(w.object(r, "media/hls/"+track+"/"+name))
		for _, p := range hlscheck.CheckRecorded(w.checked[folder+name], text, ended, size) {
			w.t.Errorf("%s of %s: %v", name, track, p)
		}
		if w.checked == nil {
			w.checked = map[string]string{}
		}
		w.checked[folder+name] = text
	}
	for _, name := range []string{"master.m3u8", "byte-range-multivariant.m3u8"} {
		for _, p := range hlscheck.CheckMultivariant(string(w.object(r, "media/hls/"+name))) {
			w.t.Errorf("%s: %v", name, p)
		}
	}
}

// events are those of a stream that are about its recording, oldest first.
func (w *world) events(streamID string) (names []string) {
	w.t.Helper()
	s, err := w.db.StreamSession(w.t.Context(), w.channel.ARN, streamID)
	w.must(err)
	for _, e := range slices.Backward(s.TruncatedEvents) {
		if e.Type == ivs.EventRecordingState {
			names = append(names, e.Name)
		}
	}
	return names
}
