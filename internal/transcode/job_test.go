package transcode

import (
	"bytes"
	"errors"
	"fmt"
	"image/jpeg"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/flv"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/media/mediatest"
)

// job is a Job for the ladder of a kind, with a sheet for each rung.
func job(t *testing.T, kind Kind, in Input) (*Job, []*sheet) {
	t.Helper()
	e, err := EncoderNamed("")
	if err != nil {
		t.Fatal(err)
	}
	j := &Job{FFmpeg: "ffmpeg", Encoder: e, Folder: t.TempDir(), Input: in}
	var sheets []*sheet
	for _, r := range Rungs(kind, false, in) {
		if r.Source {
			continue
		}
		s := &sheet{}
		sheets = append(sheets, s)
		j.Rungs, j.Outputs = append(j.Rungs, r), append(j.Outputs, s)
	}
	return j, sheets
}

// times are when frames are shown, and which of them are key frames, in
// milliseconds.
func times(frames []media.Frame) (all, keys []int) {
	for _, f := range frames {
		if !f.Track.IsVideo() {
			continue
		}
		all = append(all, int(f.PTS.Milliseconds()))
		if f.Key {
			keys = append(keys, int(f.PTS.Milliseconds()))
		}
	}
	slices.Sort(all)
	return all, keys
}

// Every rung has the source's times and key frames, its size and its audio.
func TestJob(t *testing.T) {
	if testing.Short() {
		t.Skip("ffmpeg takes its time")
	}
	for _, tt := range []struct {
		name string
		kind Kind
		size string
		in   Input
		gop  int
	}{
		{"720p30", Standard, "1280x720", Input{1280, 720, 30, true}, 50},
		{"1080p30", Standard, "1920x1080", Input{1920, 1080, 30, true}, 60},
		{"720p60", Standard, "1280x720", Input{1280, 720, 60, true}, 75},
		{"portrait", Standard, "360x640", Input{360, 640, 30, true}, 60},
		{"odd", Standard, "406x722", Input{406, 722, 30, true}, 60},
		{"advanced", AdvancedSD, "640x360", Input{640, 360, 30, true}, 60},
	} {
		t.Run(tt.name, func(t *testing.T) {
			frames := source(t, tt.size, int(tt.in.FrameRate), 4, tt.gop)
			j, sheets := job(t, tt.kind, tt.in)
			if err := j.Run(t.Context(), newTape(frames)); err != nil {
				t.Fatal(err)
			}
			all, keys := times(frames)
			for i, r := range j.Rungs {
				checkRung(t, r, sheets[i], all, keys, tt.in)
			}
			if left, _ := os.ReadDir(j.Folder); len(left) > 0 {
				t.Errorf("working folders are left: %v", left)
			}
		})
	}
}

func checkRung(t *testing.T, r Rung, s *sheet, all, keys []int, in Input) {
	t.Helper()
	gotAll, gotKeys := times(s.frames)
	if r.AudioOnly() {
		if len(gotAll) > 0 || len(s.frames) < 100 {
			t.Errorf("%s: %d shown, %d frames", r.Name, len(gotAll), len(s.frames))
		}
		return
	}
	if in.FrameRate > 30.5 && r.FrameRate == 30 {
		if n := len(gotAll); n < len(all)*45/100 || n > len(all)*55/100 {
			t.Errorf("%s: %d of %d frames, want every second one", r.Name, n, len(all))
		}
		for _, at := range gotAll {
			if _, ok := slices.BinarySearch(all, at); !ok {
				t.Errorf("%s: frame at %d ms, the source has none then", r.Name, at)
			}
		}
	} else if !slices.Equal(gotAll, all) {
		t.Errorf("%s: frames at\n%v, want\n%v", r.Name, gotAll, all)
	}
	if !slices.Equal(gotKeys, keys) {
		t.Errorf("%s: key frames at %v, want %v", r.Name, gotKeys, keys)
	}
	video, audio := s.of(true), s.of(false)
	if v := video[0].Track.Video; v.Width != r.Width || v.Height != r.Height || v.Profile != "Main" {
		t.Errorf("%s: %dx%d, profile %s", r.Name, v.Width, v.Height, v.Profile)
	}
	for _, f := range video {
		if f.DTS != f.PTS {
			t.Errorf("%s: a B-frame: DTS %v, PTS %v", r.Name, f.DTS, f.PTS)
			break
		}
	}
	if n := len(audio); n < 180 || n > 200 {
		t.Errorf("%s: %d frames of audio in 4 s, want about 188", r.Name, n)
	}
}

// What is anamorphic stays so, and no video is turned by what its bitstream
// says of a display: browsers would not turn the source beside it either.
func TestShape(t *testing.T) {
	if testing.Short() {
		t.Skip("ffmpeg takes its time")
	}
	for _, tt := range []struct {
		name, options string
		in            Input
		want          []string // of each rung
	}{
		{"anamorphic", "-vf setsar=64/45", Input{360, 288, 30, false}, []string{"360,288,64:45", "200,160,64:45"}},
		{"turned", "-bsf:v h264_metadata=display_orientation=insert:rotate=90", Input{640, 360, 30, false}, []string{"640,360,1:1", "284,160,1:1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			frames := mediatest.Shift(mediatest.Encode(t, fmt.Sprintf("-f lavfi -i testsrc2=size=%dx%d:rate=30 -t 1 %s -c:v libx264 -preset ultrafast", tt.in.Width, tt.in.Height, tt.options)), time.Second)
			j, sheets := job(t, Standard, tt.in)
			if err := j.Run(t.Context(), newTape(frames)); err != nil {
				t.Fatal(err)
			}
			for i, want := range tt.want {
				var file bytes.Buffer
				w := flv.NewWriter(&file)
				w.VideoOnly = true
				for _, f := range sheets[i].of(true) {
					if err := w.WriteFrame(f); err != nil {
						t.Fatal(err)
					}
				}
				probe := exec.Command("ffprobe", "-v", "error", "-show_entries", "stream=width,height,sample_aspect_ratio", "-of", "csv=p=0", "-")
				probe.Stdin = &file
				if got, err := probe.CombinedOutput(); err != nil || strings.TrimSpace(string(got)) != want {
					t.Errorf("%s is %s %v, want %s", j.Rungs[i].Name, got, err, want)
				}
			}
		})
	}
}

// Key frames are at most two seconds apart, however far they are in the source;
// those of the source are kept.
func TestKeyInterval(t *testing.T) {
	if testing.Short() {
		t.Skip("ffmpeg takes its time")
	}
	for kind, rate := range map[Kind]int{AdvancedSD: 30, Standard: 50} {
		frames := source(t, "640x360", rate, 8, 1000)
		j, sheets := job(t, kind, Input{640, 360, float64(rate), true})
		if err := j.Run(t.Context(), newTape(frames)); err != nil {
			t.Fatal(err)
		}
		for i, r := range j.Rungs[:2] {
			_, keys := times(sheets[i].frames)
			if len(keys) != 4 {
				t.Errorf("%s of %d frames a second: key frames at %v, want four in 8 s", r.Name, rate, keys)
			}
		}
	}
}

func TestThumbnails(t *testing.T) {
	if testing.Short() {
		t.Skip("ffmpeg takes its time")
	}
	j, _ := job(t, Standard, Input{640, 360, 30, true})
	j.Thumbnails = Thumbnails{Interval: time.Second, Width: 320, Height: 180}
	var mu sync.Mutex
	var got [][]byte
	var times []time.Duration
	j.Thumbnail = func(b []byte, dts time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		got, times = append(got, b), append(times, dts)
	}
	if err := j.Run(t.Context(), newTape(source(t, "640x360", 30, 4, 60))); err != nil {
		t.Fatal(err)
	}
	if len(got) != 4 {
		t.Errorf("%d thumbnails in 4 s, want one a second", len(got))
	}
	for i, at := range times {
		if want := times[0] + time.Duration(i)*time.Second; at != want {
			t.Errorf("thumbnail %d shows %v, want %v", i, at, want)
		}
	}
	for _, b := range got {
		c, err := jpeg.DecodeConfig(bytes.NewReader(b))
		if err != nil || c.Width != 320 || c.Height != 180 {
			t.Errorf("thumbnail of %dx%d: %v", c.Width, c.Height, err)
		}
	}
}

// Whatever ffmpeg does, Run comes back and says what it was.
func TestMisbehaviour(t *testing.T) {
	if testing.Short() {
		t.Skip("ffmpeg takes its time")
	}
	frames := source(t, "640x360", 30, 4, 60)
	for _, tt := range []struct {
		how  string
		want error  // nil: none
		says string // in the error
		hold bool   // the broadcast continues
	}{
		{how: "dies at start", says: "Unknown encoder 'libx264'", hold: true},
		{how: "dies in the middle", says: "Segmentation fault, almost", hold: true},
		{how: "hangs", want: errStuck},
		{how: "takes all and gives nothing", want: errStuck},
		{how: "does not end", want: errStuck},
		{how: "writes garbage", want: errGarbage, hold: true},
		{how: "writes another time", want: errGarbage, hold: true},
		{how: "takes too much memory", says: "more memory: cannot allocate memory", hold: true},
		{how: "says too much"},
	} {
		t.Run(tt.how, func(t *testing.T) {
			t.Parallel()
			j, _ := job(t, Standard, Input{640, 360, 30, true})
			j.Rungs, j.Outputs = j.Rungs[:1], j.Outputs[:1]
			j.FFmpeg = script(t, tt.how)
			src := newTape(frames)
			src.hold = tt.hold
			err := j.Run(t.Context(), src)
			switch {
			case tt.want == nil && tt.says == "":
				if err != nil {
					t.Errorf("Run = %v, want nil", err)
				}
			case tt.want != nil && !errors.Is(err, tt.want):
				t.Errorf("Run = %v, want %v", err, tt.want)
			case err == nil || !strings.Contains(err.Error(), tt.says):
				t.Errorf("Run = %v, want it to say %q", err, tt.says)
			}
			if left, _ := os.ReadDir(j.Folder); len(left) > 0 {
				t.Errorf("working folders are left: %v", left)
			}
		})
	}
}

// script is a program that goes wrong as said: this one, since ffmpeg gets no
// environment of ours.
func script(t *testing.T, how string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ffmpeg")
	text := "#!/bin/sh\n" + misbehave + "='" + how + "' exec '" + os.Args[0] + "'\n"
	if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestNoFFmpeg(t *testing.T) {
	j, _ := job(t, Standard, Input{640, 360, 30, true})
	j.FFmpeg = filepath.Join(t.TempDir(), "nothing")
	if err := j.Run(t.Context(), newTape(nil)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Run = %v, want that the file does not exist", err)
	}
}

// A change of video or audio ends the run.
func TestNewTrack(t *testing.T) {
	if testing.Short() {
		t.Skip("ffmpeg takes its time")
	}
	a, b := source(t, "640x360", 30, 4, 60), source(t, "320x240", 30, 4, 60)
	j, _ := job(t, Standard, Input{640, 360, 30, true})
	if err := j.Run(t.Context(), newTape(slices.Concat(a, b))); !errors.Is(err, ErrNewTrack) {
		t.Errorf("Run = %v, want ErrNewTrack", err)
	}
	j, _ = job(t, Standard, Input{640, 360, 30, false})
	if err := j.Run(t.Context(), newTape(a)); !errors.Is(err, ErrNewTrack) {
		t.Errorf("audio that comes late: Run = %v, want ErrNewTrack", err)
	}
}
