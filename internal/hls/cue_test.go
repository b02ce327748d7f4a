package hls_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/hls/hlsplayer"
	"github.com/millrace/millrace/internal/media/mediatest"
	"github.com/millrace/millrace/internal/segment"
	"github.com/millrace/millrace/internal/segment/segmenttest"
)

// id3Hello is an ID3v2.4 tag with one TXXX frame that says hello in UTF-8.
const id3Hello = "ID3\x04\x00\x00\x00\x00\x00\x11TXXX\x00\x00\x00\x07\x00\x00\x03\x00hello"

// Text is carried once, at the live edge, by a part and by the segment that it
// is in, in either container.
func TestMetadata(t *testing.T) {
	frames := mediatest.Source{Seconds: 10}.Frames(t)
	for _, container := range []hls.Container{hls.TS, hls.FMP4} {
		t.Run(fmt.Sprint("container", container), func(t *testing.T) {
			p := segmenttest.NewPlayer(t, &hls.Stream{Container: container, LowLatency: true})
			half := len(frames) / 2
			p.Play(frames[:half])
			edge := p.Source.Rendition().Stats().Parts
			if err := p.Stream.AddMetadata("hello"); err != nil {
				t.Fatal(err)
			}
			p.Play(frames[half:])
			p.Close()
			var parts, segments int
			for _, f := range p.History {
				n := bytes.Count(f.Body, []byte(id3Hello))
				if name := filepath.Base(f.URL); strings.HasPrefix(name, "p") && !strings.HasSuffix(name, ".m3u8") {
					parts += n
					if want := fmt.Sprint("p", edge, p.Extension); n > 0 && name != want {
						t.Errorf("%s carries it, want %s", name, want)
					}
				} else {
					segments += n
				}
			}
			if parts != 1 || segments != 1 {
				t.Errorf("%d parts and %d segments carry the text, want one of each", parts, segments)
			}
			p.Report(t, "")
		})
	}
}

// ffmpeg finds the stream of metadata, and the tag at its time.
func TestMetadataInTransportStream(t *testing.T) {
	frames := steady.Frames(t)
	p := segmenttest.NewPlayer(t, &hls.Stream{LowLatency: true})
	p.Play(frames[:100])
	if err := p.Stream.AddMetadata(strings.Repeat("x", 1024)); err != nil { // many packets
		t.Fatal(err)
	}
	p.Play(frames[100:])
	p.Close()
	file := filepath.Join(t.TempDir(), "all.ts")
	var all []byte
	for n := range p.Source.Rendition().Stats().Segments {
		all = append(all, p.Get(t.Context(), fmt.Sprint(n, ".ts")).Body.Bytes()...)
	}
	if err := os.WriteFile(file, all, 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("ffprobe", "-v", "error", "-show_entries", "packet=codec_type,size,pts_time:stream=codec_name", "-of", "compact", file).Output()
	if err != nil {
		t.Fatal(err)
	}
	packets := regexp.MustCompile(`(?m)^packet\|codec_type=data\|pts_time=([0-9.]+)\|size=(\d+)`).FindAllSubmatch(out, -1)
	if !bytes.Contains(out, []byte("codec_name=timed_id3")) || len(packets) != 1 {
		t.Fatalf("ffprobe finds %d packets of metadata:\n%.300s", len(packets), out)
	}
	// A segment of 60 frames and four parts of nine had been published. ffmpeg
	// leaves out five bytes, for a header that other metadata has.
	if at := string(packets[0][1]); string(packets[0][2]) != "1041" || !strings.HasPrefix(at, "13.2") {
		t.Errorf("the tag has %s bytes at %s", packets[0][2], at)
	}
}

func TestMetadataIsBounded(t *testing.T) {
	p := segmenttest.NewPlayer(t, &hls.Stream{})
	for i := range 1024 {
		if err := p.Stream.AddMetadata("x"); err != nil {
			t.Fatalf("after %d: %v", i, err)
		}
	}
	if err := p.Stream.AddMetadata("x"); !errors.Is(err, hls.ErrTooMuch) {
		t.Errorf("one too many: %v", err)
	}
}

// A break is announced at the live edge, ended when its time has passed, and
// forgotten with the media that it was in.
func TestAdBreak(t *testing.T) {
	frames := mediatest.Source{GOP: 30, NoAudio: true, Seconds: 60}.Frames(t)
	p := segmenttest.NewPlayer(t, &hls.Stream{LowLatency: true, Window: 10 * time.Second})
	list := func() string {
		return p.Get(t.Context(), "playlist.m3u8").Body.String()
	}
	p.Play(frames[:300])
	start, err := p.Stream.AddAdBreak("wFDQ2ygc1Km6", 3*time.Second)
	if want := segmenttest.Epoch.Add(10 * time.Second); err != nil || start.Sub(want).Abs() > 500*time.Millisecond {
		t.Fatalf("the break begins %v after the live edge, %v", start.Sub(want), err)
	}
	if _, err := p.Stream.AddAdBreak("another", time.Second); !errors.Is(err, hls.ErrBreakRunning) {
		t.Errorf("a second break: %v", err)
	}
	p.Play(frames[300:330])
	tag := `#EXT-X-DATERANGE:ID="wFDQ2ygc1Km6",START-DATE="` + start.Format("2006-01-02T15:04:05.000Z") + `"`
	out := regexp.MustCompile(regexp.QuoteMeta(tag+",PLANNED-DURATION=3.00000,SCTE35-OUT=0xFC302") + "[0-9A-F]+\n")
	in := regexp.MustCompile(regexp.QuoteMeta(tag+",DURATION=3.00000,SCTE35-IN=0xFC302") + "[0-9A-F]+\n")
	if s := list(); len(out.FindAllString(s, -1)) != 1 || in.MatchString(s) {
		t.Errorf("while it runs:\n%s", s)
	}
	p.Play(frames[330:420])
	if s := list(); len(out.FindAllString(s, -1)) != 1 || len(in.FindAllString(s, -1)) != 1 {
		t.Errorf("when it is over:\n%s", s)
	}
	if _, err := p.Stream.AddAdBreak("next", time.Second); err != nil {
		t.Errorf("the next break: %v", err)
	}
	p.Play(frames[420:])
	if s := list(); strings.Contains(s, "DATERANGE") {
		t.Errorf("long after:\n%s", s)
	}
	p.Close()
	p.Report(t, "")
}

// Text and breaks are at one position of the media in every rendition, those
// that lag behind too.
func TestCuesInEveryRendition(t *testing.T) {
	frames := mediatest.Source{Seconds: 12}.Frames(t)
	half := len(frames) / 2
	for container, before := range map[hls.Container]int{hls.TS: 5, hls.FMP4: len("https://aomedia.org/emsg/ID3\x00\x00") + 16} {
		t.Run(fmt.Sprint("container", container), func(t *testing.T) {
			p := segmenttest.NewPlayer(t, &hls.Stream{Container: container, LowLatency: true})
			low := segment.NewLeader(p.Stream.AddRendition("low", hls.Listing{}))
			segmenttest.Write(t, p.Source, frames[:half])
			segmenttest.Write(t, low, frames[:half-40])
			if err := p.Stream.AddMetadata("hello"); err != nil {
				t.Fatal(err)
			}
			if _, err := p.Stream.AddAdBreak("wFDQ2ygc1Km6", 3*time.Second); err != nil {
				t.Fatal(err)
			}
			segmenttest.Write(t, p.Source, frames[half:])
			segmenttest.Write(t, low, frames[half-40:])
			get := func(path string) *bytes.Buffer {
				return hlsplayer.Get(t.Context(), p.Stream, path).Body
			}
			var times, breaks []string
			for _, name := range []string{"source", "low"} {
				for i := range p.Source.Rendition().Stats().Segments {
					body := get(fmt.Sprint("/", name, "/", i, p.Extension)).Bytes()
					for at := 0; ; at++ {
						next := bytes.Index(body[at:], []byte(id3Hello))
						if next < 0 {
							break
						}
						at += next
						times = append(times, fmt.Sprintf("%x", body[at-before : at][:min(before, 8)])) // the PTS, or the event's time
					}
				}
				list := get("/" + name + "/playlist.m3u8").String()
				breaks = append(breaks, strings.Join(regexp.MustCompile("#EXT-X-DATERANGE.*\n").FindAllString(list, -1), ""))
			}
			if len(times) != 2 || times[0] != times[1] {
				t.Errorf("the text is at %v, want one time in both", times)
			}
			if strings.Count(breaks[0], "\n") != 2 || breaks[0] != breaks[1] {
				t.Errorf("the break is\n%sand\n%swant an end and a way back, the same in both", breaks[0], breaks[1])
			}
		})
	}
}
