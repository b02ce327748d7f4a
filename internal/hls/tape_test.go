package hls_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/flv"
	"github.com/millrace/millrace/internal/media"
)

// A recipe is a broadcast that ffmpeg makes for a test.
type recipe struct {
	fps     string // as ffmpeg reads it: "30", "30000/1001"
	gop     int    // pictures from key frame to key frame
	bframes int
	silent  bool // no audio
	seconds int
	size    string // "" means 160x90
	rate    int    // audio samples per second; 0 means 48000
	extra   string // more x264 parameters, as ":open-gop=1"
}

var tapes sync.Map // recipe -> func() ([]media.Frame, error)

// tape returns the frames of a recipe, encoded once for all tests.
func tape(t testing.TB, r recipe) []media.Frame {
	t.Helper()
	make := sync.OnceValues(func() ([]media.Frame, error) { return r.encode() })
	cached, _ := tapes.LoadOrStore(r, make)
	frames, err := cached.(func() ([]media.Frame, error))()
	if err != nil {
		t.Fatal(err)
	}
	return frames
}

func (r recipe) encode() ([]media.Frame, error) {
	size, rate := r.size, r.rate
	if size == "" {
		size = "160x90"
	}
	if rate == 0 {
		rate = 48000
	}
	args := fmt.Sprintf("-v error -f lavfi -i testsrc2=size=%s:rate=%s", size, r.fps)
	if !r.silent {
		args += fmt.Sprintf(" -f lavfi -i sine=frequency=440:sample_rate=%d -c:a aac -b:a 64k", rate)
	}
	args += fmt.Sprintf(" -t %d -c:v libx264 -threads 1 -preset ultrafast -pix_fmt yuv420p -g %d -keyint_min %d -bf %d -x264-params scenecut=0%s -f flv -",
		r.seconds, r.gop, r.gop, r.bframes, r.extra)
	var stderr bytes.Buffer
	cmd := exec.Command("ffmpeg", strings.Fields(args)...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("ffmpeg %s: %w: %s", args, err, stderr.Bytes())
	}
	return frames(out)
}

func frames(file []byte) ([]media.Frame, error) {
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

// shift returns frames that begin d later.
func shift(frames []media.Frame, d time.Duration) []media.Frame {
	moved := make([]media.Frame, len(frames))
	for i, f := range frames {
		f.DTS, f.PTS = f.DTS+d, f.PTS+d
		moved[i] = f
	}
	return moved
}
