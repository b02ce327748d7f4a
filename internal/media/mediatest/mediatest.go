// Package mediatest has media for tests: broadcasts that ffmpeg encodes, and
// its decoders as judges of what became of them.
package mediatest

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/flv"
	"github.com/millrace/millrace/internal/media"
)

// A Source is a test broadcast: a moving test image in H.264 and a tone in AAC.
type Source struct {
	FrameRate  string // as ffmpeg reads it, "30000/1001"; "" means "30"
	GOP        int    // frames from key frame to key frame; 0 means 60
	BFrames    int    // in a row
	NoAudio    bool
	Seconds    int
	Size       string // "" means "160x90"
	SampleRate int    // of audio, Hz; 0 means 48000
	X264       string // more parameters for x264, as ":open-gop=1"
}

// A minute of each: what most tests of broadcasts send.
var (
	Steady  = Source{BFrames: 2, Size: "160x120", Seconds: 60}
	Ordered = Source{Size: "160x120", Seconds: 60} // no B-frames: in the order of display
	Other   = Source{BFrames: 2, Size: "176x144", SampleRate: 44100, Seconds: 60}
)

// Frames returns the frames of s from time zero on, as Encode does.
func (s Source) Frames(t testing.TB) []media.Frame {
	t.Helper()
	args := fmt.Sprintf("-f lavfi -i testsrc2=size=%s:rate=%s", cmp.Or(s.Size, "160x90"), cmp.Or(s.FrameRate, "30"))
	if !s.NoAudio {
		args += fmt.Sprintf(" -f lavfi -i sine=frequency=440:sample_rate=%d -c:a aac -b:a 64k", cmp.Or(s.SampleRate, 48000))
	}
	gop := cmp.Or(s.GOP, 60)
	return Encode(t, fmt.Sprintf("%s -t %d -c:v libx264 -preset ultrafast -g %d -keyint_min %d -bf %d -x264-params scenecut=0%s",
		args, s.Seconds, gop, gop, s.BFrames, s.X264))
}

var encoded sync.Map // arguments -> func() ([]media.Frame, error)

// Encode returns the frames that ffmpeg makes with args, its inputs and codecs,
// encoded once for the tests of this user. The slice is the caller's, the frames'
// data is shared.
func Encode(t testing.TB, args string) []media.Frame {
	t.Helper()
	once, _ := encoded.LoadOrStore(args, sync.OnceValues(func() ([]media.Frame, error) { return encode(args) }))
	frames, err := once.(func() ([]media.Frame, error))()
	if err != nil {
		t.Fatal(err)
	}
	return slices.Clone(frames)
}

func encode(args string) ([]media.Frame, error) {
	program, err := exec.LookPath("ffmpeg")
	if err != nil {
		return nil, fmt.Errorf("%w (make test installs ffmpeg)", err)
	}
	all := strings.Fields("-v error " + args + " -threads 1 -pix_fmt yuv420p -f flv -")
	file := cacheFile(program, all)
	if cached, err := os.ReadFile(file); err == nil {
		return readFLV(cached)
	}
	var stderr bytes.Buffer
	encoder := exec.Command(program, all...)
	encoder.Stderr = &stderr
	out, err := encoder.Output()
	if err != nil {
		return nil, fmt.Errorf("ffmpeg %s: %w: %s", args, err, stderr.Bytes())
	}
	_ = writeWhole(file, out) // if it fails, the next test encodes again
	return readFLV(out)
}

// cacheFile returns the file that keeps the output of this ffmpeg for the tests of other
// packages and later runs: most of them need the same, and reading is faster than encoding.
func cacheFile(program string, args []string) string {
	folder, err := os.UserCacheDir()
	if err != nil {
		folder = os.TempDir()
	}
	made := fmt.Sprintf("%s %q", program, args)
	if info, err := os.Stat(program); err == nil {
		made += fmt.Sprint(info.Size(), info.ModTime())
	}
	key := sha256.Sum256([]byte(made))
	return filepath.Join(folder, "millrace-test", fmt.Sprintf("%x.flv", key[:16]))
}

// writeWhole writes a file that others see whole or not at all.
func writeWhole(name string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), "new")
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err := errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return os.Rename(f.Name(), name)
}

func readFLV(file []byte) ([]media.Frame, error) {
	var all []media.Frame
	for r := flv.NewReader(bytes.NewReader(file)); ; {
		f, err := r.ReadFrame()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		f.Data = bytes.Clone(f.Data)
		all = append(all, f)
	}
}

// Shift returns frames that begin d later.
func Shift(frames []media.Frame, d time.Duration) []media.Frame {
	moved := make([]media.Frame, len(frames))
	for i, f := range frames {
		f.DTS, f.PTS = f.DTS+d, f.PTS+d
		moved[i] = f
	}
	return moved
}

// Repeat returns frames of a length n times over.
func Repeat(frames []media.Frame, length time.Duration, n int) (all []media.Frame) {
	for i := range n {
		all = append(all, Shift(frames, time.Duration(i)*length)...)
	}
	return all
}

// NoCaption is the pair of bytes that an encoder sends while there is no caption.
var NoCaption = [2]byte{0x80, 0x80}

// Caption returns what stands before the slices of a frame to caption it: an SEI
// message, its length first, with a pair of bytes of CEA-608 (ATSC A/53 Part 4, 6.2.3).
func Caption(pair [2]byte) []byte {
	return []byte{0, 0, 0, 18, media.H264NALSEI, 4, 14, 0xb5, 0, 0x31, 'G', 'A', '9', '4', 3, 0xc1, 0xff, 0xfc, pair[0], pair[1], 0xff, 0x80}
}

// Keep returns the frames that f accepts.
func Keep(frames []media.Frame, f func(media.Frame) bool) (kept []media.Frame) {
	for _, x := range frames {
		if f(x) {
			kept = append(kept, x)
		}
	}
	return kept
}

// Decode has ffmpeg decode a file of media, whose extension ext ("ts", "mp4")
// says what it is. It expects no complaint, and returns how many video frames
// there were.
func Decode(t testing.TB, ext string, file []byte) (frames int) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "media."+ext)
	if err := os.WriteFile(name, file, 0o600); err != nil {
		t.Fatal(err)
	}
	var stderr, stdout bytes.Buffer
	decoder := exec.Command("ffmpeg", "-v", "error", "-threads", "1", "-copyts", "-i", name, "-fps_mode", "passthrough", "-enc_time_base", "-1", "-f", "null", "-progress", "-", "-")
	decoder.Stderr, decoder.Stdout = &stderr, &stdout
	if err := decoder.Run(); err != nil || stderr.Len() > 0 {
		t.Errorf("ffmpeg: %v: %.2000s", err, stderr.Bytes())
	}
	for line := range strings.Lines(stdout.String()) {
		fmt.Sscanf(line, "frame=%d", &frames) // the last one counts
	}
	return frames
}

// AudioTimes has ffmpeg read a file of media, as Decode does, and returns when
// each frame of audio is played, in seconds.
func AudioTimes(t testing.TB, ext string, file []byte) (times []float64) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "media."+ext)
	if err := os.WriteFile(name, file, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("ffprobe", "-v", "error", "-select_streams", "a", "-show_entries", "packet=pts_time", "-of", "csv=p=0", name).CombinedOutput()
	if err != nil {
		t.Fatalf("ffprobe: %v: %s", err, out)
	}
	for _, text := range strings.FieldsFunc(string(out), func(r rune) bool { return r == ',' || r == '\n' }) {
		at, err := strconv.ParseFloat(text, 64)
		if err != nil {
			t.Fatalf("ffprobe says %q", text)
		}
		times = append(times, at)
	}
	return times
}
