package record_test

import (
	"bufio"
	"bytes"
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

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
)

const (
	lifeFolder = "RECORD_TEST_FOLDER" // a life of the server is to run in it
	lifeNumber = "RECORD_TEST_LIFE"

	segmentLine = "a segment begins" // what a life says

	perLife = 100_000 // numbers of frames that a life has at most
	gop     = 60      // frames of a segment of the test video
)

// TestLife is not a test: it is what TestKill runs as a process and kills.
func TestLife(t *testing.T) {
	dir := os.Getenv(lifeFolder)
	if dir == "" {
		return
	}
	life, err := strconv.Atoi(os.Getenv(lifeNumber))
	if err != nil {
		t.Fatal(err)
	}
	w := openWorld(t, dir)
	w.loadChannel(dir)
	_, err = w.db.EndSessionsOf(t.Context(), owner)
	w.must(err)
	n := life * perLife
	frames := numbered(t, 120, &n)
	w.start()
	b := w.goLive(testIngest)
	for _, f := range frames {
		if f.Key && f.Track.IsVideo() {
			fmt.Println(segmentLine)
		}
		w.must(b.source.WriteFrame(f))
		time.Sleep(500 * time.Microsecond)
	}
	b.leave()
	w.stop()
}

func (w *world) loadChannel(dir string) {
	w.t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "channel"))
	w.must(err)
	w.channel, err = w.db.Channel(w.t.Context(), string(text))
	w.must(err)
}

// A recorder that is killed at twenty random moments has, in the end, every
// segment in the bucket that its spool had: each once, and playlists that end.
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
	w.channel.RecordingConfigurationARN = c.ARN
	w.must(w.db.CreateChannel(t.Context(), w.channel, ivs.NewStreamKey("111122223333", "us-west-2", w.channel.ARN)),
		os.WriteFile(filepath.Join(dir, "channel"), []byte(w.channel.ARN), 0o600))

	written := map[int]int{} // segments in the spool's journals, by life
	for life := range kills {
		w.liveAndDie(dir, life)
		for n, segments := range w.journaled(life) {
			written[n] += segments
		}
	}
	_, err := w.db.EndSessionsOf(t.Context(), owner)
	w.must(err)
	w.start()
	w.wait("the end of all recordings", func() bool {
		open, err := w.db.OpenRecordings(t.Context(), owner)
		return err == nil && len(open) == 0
	})
	got := map[int][]int{} // numbers of frames, by life
	all := w.recordings()
	for _, r := range all {
		for life, numbers := range w.byLife(r) {
			got[life] = append(got[life], numbers...)
		}
	}
	total := 0
	for life := range kills {
		slices.Sort(got[life])
		for i, n := range got[life] {
			if n != life*perLife+i {
				t.Fatalf("life %d: frame %d is in the place of %d", life, n, life*perLife+i)
			}
		}
		if len(got[life]) != written[life]*gop {
			t.Errorf("life %d: %d frames are recorded, the journal had %d segments of %d", life, len(got[life]), written[life], gop)
		}
		total += written[life]
	}
	if total == 0 { // how many there are depends on the machine's speed
		t.Errorf("no segment was journaled in %d lives", kills)
	}
	t.Logf("%d segments of %d lives are in %d recordings", total, kills, len(all))
}

// liveAndDie runs a life, and kills it at a random moment.
func (w *world) liveAndDie(dir string, life int) {
	w.t.Helper()
	process := exec.Command(os.Args[0], "-test.run=^TestLife$")
	process.Env = append(os.Environ(), lifeFolder+"="+dir, lifeNumber+"="+strconv.Itoa(life))
	out, err := process.StdoutPipe()
	w.must(err, process.Start())
	lines := bufio.NewScanner(out)
	if life%5 > 0 { // else it may be killed while it starts
		for left := 1 + rand.N(8); left > 0 && lines.Scan(); {
			if lines.Text() == segmentLine {
				left--
			}
		}
	}
	time.Sleep(rand.N(100 * time.Millisecond)) // a random moment
	process.Process.Kill()
	process.Wait()
}

// journaled counts the segments of a life that the journals of the spool have,
// by their dates: those of a life are newer than all of the lives before.
func (w *world) journaled(life int) map[int]int {
	w.t.Helper()
	journals, err := filepath.Glob(filepath.Join(w.spool, "*", "*", "journal"))
	w.must(err)
	total := 0
	for _, name := range journals {
		text, err := os.ReadFile(name)
		w.must(err)
		for line := range bytes.Lines(text) {
			var l struct {
				Segment *struct{ Size int64 }
			}
			if json.Unmarshal(line, &l) == nil && l.Segment != nil && bytes.HasSuffix(line, []byte("\n")) {
				total++
			}
		}
	}
	seen := total - w.seen
	w.seen = total
	if seen < 0 { // the spool has let go of a recording that was full
		seen, w.seen = total, total
	}
	return map[int]int{life: seen}
}

// byLife reads the numbers of the frames of a recording.
func (w *world) byLife(r store.Recording) map[int][]int {
	w.t.Helper()
	lives := map[int][]int{}
	folder := "media/hls/90p30/"
	if len(r.Renditions) == 0 {
		return nil
	}
	entries, ended := w.playlist(r, folder+"playlist.m3u8")
	if !ended {
		w.t.Errorf("%s has not ended", r.Prefix)
	}
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
