package flv_test

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/flv"
	"github.com/millrace/millrace/internal/media"
)

// ffmpeg runs the real one, which make test installs, from pipe to pipe.
func ffmpeg(t *testing.T, stdin []byte, args string) []byte {
	t.Helper()
	path, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Fatal("ffmpeg is not installed: make test installs it")
	}
	cmd := exec.CommandContext(t.Context(), path, strings.Fields("-hide_banner -loglevel error "+args)...)
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(stdin), &stderr
	out, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("ffmpeg %s: %v\n%s", args, err, &stderr)
	}
	return out
}

// What ffmpeg wrote, and we read and wrote again, is to ffmpeg what it was.
func TestThroughFFmpegsPipes(t *testing.T) {
	original := ffmpeg(t, nil, "-f lavfi -i testsrc2=size=320x180:rate=25 -f lavfi -i sine -t 2 "+
		"-c:v libx264 -preset veryfast -bf 2 -g 25 -pix_fmt yuv420p -c:a aac -f flv -")
	var again bytes.Buffer
	r, w := flv.NewReader(bytes.NewReader(original)), flv.NewWriter(&again)
	n, err := media.Copy(w, r)
	if err != nil || n < 50+80 {
		t.Fatalf("copied %d frames: %v", n, err)
	}
	if m, ok := r.Metadata(); !ok || m.Width != 320 || m.Height != 180 || m.FrameRate != 25 {
		t.Errorf("metadata %+v, %v", m, ok)
	}
	const sums = "-copyts -i - -map 0:v -map 0:a -c copy -f framemd5 -"
	want, got := ffmpeg(t, original, sums), ffmpeg(t, again.Bytes(), sums)
	if !bytes.Equal(got, want) {
		t.Errorf("ffmpeg reads\n%s, want\n%s", got, want)
	}
}
