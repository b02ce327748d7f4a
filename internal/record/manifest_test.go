package record

import (
	"testing"
	"time"

	"github.com/millrace/millrace/internal/goldentest"
	"github.com/millrace/millrace/internal/ivs"
)

var (
	testStart    = time.Date(2026, 5, 1, 9, 3, 14, 0, time.UTC)
	testVariants = []variant{
		{Name: "1080p60", Codecs: "avc1.64002A,mp4a.40.2", Width: 1920, Height: 1080, FrameRate: 60, peak: 6_500_000, average: 6_100_000},
		{Name: "480p30", Codecs: "avc1.4D401F,mp4a.40.2", Width: 852, Height: 480, FrameRate: 30, peak: 1_500_000, average: 1_400_000},
		{Name: "audio_only", Codecs: "mp4a.40.2", peak: 70_000, average: 66_000},
	}
)

func TestPrefix(t *testing.T) {
	at := time.Date(2025, 7, 1, 0, 1, 0, 0, time.FixedZone("", 2*3600))
	if got, want := prefixOf("111122223333", "fSImSuhUEoE8", "k72FMYp8Qpec", at), "ivs/v1/111122223333/fSImSuhUEoE8/2025/6/30/22/1/k72FMYp8Qpec"; got != want {
		t.Errorf("prefix %s, want %s", got, want)
	}
}

func TestMultivariant(t *testing.T) {
	goldentest.Check(t, "testdata/master.m3u8", multivariant(testVariants, playlistName))
	testVariants := append([]variant(nil), testVariants...)
	testVariants[0].Captions = true
	goldentest.Check(t, "testdata/byte-range-multivariant.m3u8", multivariant(testVariants, byteRangePlaylistName))
}

func TestPlaylists(t *testing.T) {
	for name, fmp4 := range map[string]bool{"ts": false, "fmp4": true} {
		init := int64(-1)
		if fmp4 {
			init = 0
		}
		files := []file{
			{number: 0, size: 300, duration: 10 * time.Second, date: testStart, init: init, cuts: []cut{{Offset: 0, Size: 200, Duration: 6 * time.Second}, {Offset: 200, Size: 100, Duration: 4 * time.Second}}},
			{number: 1, duration: 3 * time.Second, date: testStart.Add(10 * time.Second), init: init, gap: true},
			{number: 2, size: 80, duration: 1500 * time.Millisecond, date: testStart.Add(13 * time.Second), init: init, discontinuity: true, cuts: []cut{{Offset: 0, Size: 80, Duration: 1500 * time.Millisecond}},
				tags: "#EXT-X-DATERANGE:ID=\"ad\",START-DATE=\"2026-05-01T09:03:27.000Z\",PLANNED-DURATION=30.00000\n"},
		}
		if fmp4 {
			files[2].init = 1
		}
		plain, ranges := []byte(playlistHead(fmp4, false)), []byte(playlistHead(fmp4, true))
		for i := range files {
			files[i].fmp4 = fmp4
		}
		last := int64(-1)
		for _, f := range files {
			plain, ranges = appendFile(plain, f, f.init != last), appendCuts(ranges, f, f.init != last)
			last = f.init
		}
		goldentest.Check(t, "testdata/"+name+"-playlist.m3u8", append(plain, playlistEnd...))
		goldentest.Check(t, "testdata/"+name+"-byte-range-variant.m3u8", append(ranges, playlistEnd...))
	}
}

// The JSON files are those of Amazon IVS.
func TestDocuments(t *testing.T) {
	const channel = "arn:aws:ivs:us-west-2:111122223333:channel/fSImSuhUEoE8"
	ms := int64(2_266_000)
	for name, status := range map[string]string{"recording-started.json": statusStarted, "recording-ended.json": statusEnded, "recording-failed.json": statusFailed} {
		d := newDocument(channel, status, testVariants)
		d.StartedAt = ivs.Time{Time: testStart}
		if status != statusStarted {
			d.EndedAt = ivs.Time{Time: testStart.Add(38*time.Minute + 56*time.Second)}
			d.Media.HLS.DurationMS = &ms
		}
		if status == statusFailed {
			d.StatusMessage = reasonInternal
		}
		d.Media.Thumbnails = &documentThumbnail{thumbnailFolder, 1080, 1920}
		d.Media.LatestThumbnail = &documentThumbnail{latestThumbnailName, 1080, 1920}
		got, err := d.encode()
		if err != nil {
			t.Fatal(err)
		}
		goldentest.Check(t, "testdata/"+name, got)
	}
}
