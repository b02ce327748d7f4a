package record_test

import (
	"bufio"
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
	lifePlace  = "RECORD_TEST_PLACE" // where its buckets are

	recordedLine = "recorded to frame " // what a life says: all that it has sent below that number must get into the bucket

	missedLog = "the disk has lost media" // logged after a crash of the machine, and never after a kill

	perLife = 100_000 // numbers of frames that a life has at most
	gop     = 60      // frames of a segment of the test video
)

// TestLife is not a test: it is what TestKill runs as a process and kills.
func TestLife(t *testing.T) {
	dir := os.Getenv(lifeFolder)
	if dir == "" {
		return
	}
	place = os.Getenv(lifePlace)
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
	before := w.recordedMedia()
	b := w.goLive(testIngest)
	sent := life * perLife
	for _, f := range frames {
		w.must(b.source.WriteFrame(f))
		if !f.Track.IsVideo() {
			continue
		}
		if f.Key && sent > life*perLife { // the segment before is finished
			w.wait("the segment in the spool", func() bool { return w.recordedMedia()-before >= time.Duration(sent-life*perLife)*time.Second/30 })
			fmt.Println(recordedLine + strconv.Itoa(sent))
		}
		sent++
		time.Sleep(500 * time.Microsecond)
	}
	b.leave()
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
// in the bucket that had been recorded: each once, and playlists that end.
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
	if w.log.count(missedLog) > 0 {
		t.Error("media is missed after the last kill")
	}
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
		if n := len(got[life]); n < recorded[life] || n%gop != 0 {
			t.Errorf("life %d: %d frames are in the bucket, and %d were recorded", life, n, recorded[life])
		}
		total += recorded[life]
	}
	if total == 0 { // how many there are depends on the machine's speed
		t.Errorf("nothing was recorded in %d lives", kills)
	}
	t.Logf("%d frames of %d lives are in %d recordings", total, kills, len(all))
}

// liveAndDie runs a life, kills it at a random moment, and returns how many frames
// it had recorded.
func (w *world) liveAndDie(dir string, life int) (recorded int) {
	w.t.Helper()
	process := exec.Command(os.Args[0], "-test.run=^TestLife$", "-test.v") // or else its log is seen at the end alone
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
