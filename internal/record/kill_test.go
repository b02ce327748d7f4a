package record_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/segment"
	"github.com/millrace/millrace/internal/store"
)

const (
	lifeFolder = "RECORD_TEST_FOLDER" // a life of the server is to run in it
	lifeNumber = "RECORD_TEST_LIFE"
	lifePlace  = "RECORD_TEST_PLACE" // where its buckets are

	recordedLine = "recorded to frame " // what a life says: all that it has sent below that number must get into the bucket

	missedLog = "the disk has lost media" // logged after a crash of the machine, and never after a kill

	perLife = 100_000 // numbers of frames that a life has at most
	gop     = 60      // frames of a segment of the test video
)

// TestMain runs the tests; or, in a process that TestKill starts, a life of the server.
func TestMain(m *testing.M) {
	if os.Getenv(lifeFolder) == "" {
		os.Exit(m.Run())
	}
	testing.Main(func(string, string) (bool, error) { return true, nil }, []testing.InternalTest{{Name: "life", F: life}}, nil, nil)
}

// life is run as a process, and killed.
func life(t *testing.T) {
	dir := os.Getenv(lifeFolder)
	place = os.Getenv(lifePlace)
	number, err := strconv.Atoi(os.Getenv(lifeNumber))
	if err != nil {
		t.Fatal(err)
	}
	w := openWorld(t, dir)
	w.loadChannel(dir)
	_, err = w.db.EndSessionsOf(t.Context(), owner)
	w.must(err)
	n, m := number*perLife, number*perLife
	frames, small := numbered(t, 120, &n), numberedSize(t, "96x54", 120, &m)
	w.start()
	if number%2 > 0 { // so that it is killed as an object is written
		defer time.AfterFunc(rand.N(2*time.Second), func() { w.buckets.Slow(bucketName, time.Minute) }).Stop()
	}
	before := w.recordedMedia()
	b := w.goLive(testIngest)
	transcoded := segment.NewFollower(b.stream.AddRendition("rung", hls.Listing{Label: "54p30"}), b.source, false)
	sent := number * perLife
	for i, f := range frames {
		w.must(b.source.WriteFrame(f))
		if f.Key && f.Track.IsVideo() && sent > number*perLife { // the segment before is finished
			w.wait("the segment in the spool", func() bool { return w.recordedMedia()-before >= time.Duration(sent-number*perLife)*time.Second/30 })
			fmt.Println(recordedLine + strconv.Itoa(sent))
		}
		w.must(transcoded.WriteFrame(small[i])) // after that, so that the source has most of the recorded media
		if f.Track.IsVideo() {
			sent++
			time.Sleep(500 * time.Microsecond)
		}
	}
	w.must(b.source.Close(), transcoded.Close())
	b.finish()
	w.stop()
}

// recordedMedia is how much media the recordings of the channel have, in spool and
// bucket.
func (w *world) recordedMedia() (total time.Duration) {
	w.t.Helper()
	for _, l := range w.listedAll(w.handler()) {
		total += time.Duration(l.DurationMS) * time.Millisecond
	}
	return total + 100*time.Millisecond // what is rounded off
}

func (w *world) loadChannel(dir string) {
	w.t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "channel"))
	w.must(err)
	w.channel, err = w.db.Channel(w.t.Context(), string(text))
	w.must(err)
}

// A recorder that is killed at twenty random moments has, in the end, every frame
// in the bucket that had been recorded: each once in every rendition, and playlists,
// JSON files and events that end.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("it kills processes over and over")
	}
	const kills = 20
	dir := t.TempDir()
	w := openWorld(t, dir)
	w.must(w.buckets.Check(t.Context(), bucketName))
	c := ivs.RecordingConfiguration{ARN: "arn:aws:ivs:us-west-2:111122223333:recording-configuration/6wv50aaqsZnf", State: ivs.RecordingActive, ReconnectWindowSeconds: 3}
	c.DestinationConfiguration.S3.BucketName = bucketName
	c.ThumbnailConfiguration.RecordingMode = ivs.ThumbnailsDisabled
	c.RenditionConfiguration.RenditionSelection = ivs.RenditionsAll
	w.must(w.db.RecordingConfigurations().Create(t.Context(), c, 20, false))
	w.channel = ivs.NewChannel("111122223333", "us-west-2")
	w.channel.RecordingConfigurationARN, w.channel.ContainerFormat = c.ARN, ivs.ContainerFMP4
	if place != "" { // fMP4 into a folder, TS into S3
		w.channel.ContainerFormat = ivs.ContainerTS
	}
	w.must(w.db.CreateChannel(t.Context(), w.channel, ivs.NewStreamKey("111122223333", "us-west-2", w.channel.ARN)),
		os.WriteFile(filepath.Join(dir, "channel"), []byte(w.channel.ARN), 0o600))

	var recorded [kills]int // so many frames of each life were recorded when it was killed
	for life := range kills {
		recorded[life] = w.liveAndDie(dir, life)
	}
	_, err := w.db.EndSessionsOf(t.Context(), owner)
	w.must(err)
	w.start()
	w.wait("the end of all recordings", func() bool {
		open, err := w.db.OpenRecordings(t.Context(), owner)
		return err == nil && len(open) == 0
	})
	if w.log.Count(missedLog) > 0 {
		t.Error("media is missed after the last kill")
	}
	all, total := w.recordings(), 0
	for _, r := range all {
		w.endedWhole(r)
	}
	for life := range kills {
		total += recorded[life]
	}
	for track, least := range map[string][kills]int{"90p30": recorded, "54p30": {}} {
		got := map[int][]int{} // numbers of frames, by life
		for _, r := range all {
			for life, numbers := range w.byLife(r, track) {
				got[life] = append(got[life], numbers...)
			}
		}
		frames := 0
		for life := range kills {
			slices.Sort(got[life])
			for i, n := range got[life] {
				if n != life*perLife+i {
					t.Fatalf("life %d: frame %d of %s is in the place of %d", life, n, track, life*perLife+i)
				}
			}
			if n := len(got[life]); n < least[life] || n%gop != 0 {
				t.Errorf("life %d: %d frames of %s are in the bucket, and %d were recorded", life, n, track, least[life])
			}
			frames += len(got[life])
		}
		if total == 0 || frames == 0 { // how many there are depends on the machine's speed
			t.Errorf("%d frames of %s were recorded in %d lives", frames, track, kills)
		}
		t.Logf("%d frames of %s, of %d lives, are in %d recordings", frames, track, kills, len(all))
	}
}

// endedWhole checks that a recording has what belongs to one that has ended: playlists,
// JSON file and events. One without media has failed at its start.
func (w *world) endedWhole(r store.Recording) {
	w.t.Helper()
	for i, id := range r.Streams {
		want := []string{ivs.RecordingStart}
		switch {
		case len(r.Renditions) == 0:
			want = []string{ivs.RecordingStartFailure}
		case i == len(r.Streams)-1:
			want = append(want, ivs.RecordingEnd)
		}
		if got := w.events(id); !slices.Equal(got, want) {
			w.t.Errorf("stream %d of %d in %s has the events %q, want %q", i, len(r.Streams), r.Prefix, got, want)
		}
	}
	if len(r.Renditions) == 0 {
		return
	}
	for _, v := range r.Renditions {
		w.check(r, v.Path, true)
	}
	var ended struct {
		Status string `json:"recording_status"`
		Media  struct {
			HLS struct {
				DurationMS int64 `json:"duration_ms"`
				Renditions []any `json:"renditions"`
			} `json:"hls"`
		} `json:"media"`
	}
	w.must(json.Unmarshal(w.object(r, "events/recording-ended.json"), &ended))
	if hls := ended.Media.HLS; r.Failure != "" || ended.Status != "RECORDING_ENDED" || hls.DurationMS != r.Duration.Milliseconds() || len(hls.Renditions) != len(r.Renditions) {
		w.t.Errorf("recording-ended.json is %+v of %+v", ended, r)
	}
}

// liveAndDie runs a life, kills it at a random moment, and returns how many frames
// it had recorded.
func (w *world) liveAndDie(dir string, life int) (recorded int) {
	w.t.Helper()
	process := exec.Command(os.Args[0], "-test.v") // or else its log is seen at the end alone
	process.Env = append(os.Environ(), lifeFolder+"="+dir, lifeNumber+"="+strconv.Itoa(life), lifePlace+"="+place)
	out, err := process.StdoutPipe()
	w.must(err, process.Start())
	lines := bufio.NewScanner(out)
	next := func() bool {
		for lines.Scan() {
			if strings.Contains(lines.Text(), missedLog) {
				w.t.Errorf("life %d, after a kill: %s", life, lines.Text())
			}
			if number, ok := strings.CutPrefix(lines.Text(), recordedLine); ok {
				n, err := strconv.Atoi(number)
				w.must(err)
				recorded = n - life*perLife
				return true
			}
		}
		return false
	}
	if life%5 > 0 { // else it may be killed while it starts
		for left := 1 + rand.N(8); left > 0 && next(); left-- {
		}
	}
	time.Sleep(rand.N(100 * time.Millisecond)) // a random moment
	process.Process.Kill()
	for next() { // what it has said before
	}
	process.Wait()
	return recorded
}

// byLife reads the numbers of the frames of a rendition of a recording.
func (w *world) byLife(r store.Recording, track string) map[int][]int {
	w.t.Helper()
	lives := map[int][]int{}
	folder := "media/hls/" + track + "/"
	if !slices.ContainsFunc(r.Renditions, func(v store.RecordedRendition) bool { return v.Path == track }) {
		return nil
	}
	entries, _ := w.playlist(r, folder+"playlist.m3u8")
	for _, e := range entries {
		if strings.HasPrefix(e.name, "init") || e.gap {
			continue
		}
		for _, n := range numbers(w.channel.ContainerFormat, w.object(r, folder+e.name)) {
			lives[n/perLife] = append(lives[n/perLife], n)
		}
	}
	return lives
}
