package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/internal/flv"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/rtmp"
	"github.com/millrace/millrace/internal/store"
)

// publishCommand publishes a test pattern or a file.
type publishCommand struct {
	storage
	To       string        `arg:"" help:"A channel's name or ARN, or an address rtmp[s]://host:port/app/key. With --count, {n} in it becomes 1, 2, 3 …; channels that do not exist are created."`
	RTMP     string        `name:"rtmp" default:"127.0.0.1:1935" placeholder:"HOST:PORT" help:"Where the server of a channel named TO takes RTMP (${default})."`
	RTMPS    string        `name:"rtmps" default:"127.0.0.1:1936" placeholder:"HOST:PORT" help:"Where it takes RTMPS, for channels without insecureIngest (${default})."`
	File     string        `name:"file" type:"existingfile" placeholder:"FILE" help:"An FLV file to publish, over and over. Default: test video, which needs ffmpeg."`
	Count    int           `name:"count" default:"1" help:"How many broadcasts at a time (${default})."`
	Size     string        `name:"size" default:"1280x720" help:"Resolution of the test video (${default})."`
	FPS      int           `name:"fps" default:"30" help:"Frames per second of the test video (${default})."`
	Bitrate  int           `name:"bitrate" default:"2500" placeholder:"KBIT" help:"Bit rate of the test video in kbit/s (${default})."`
	Duration time.Duration `name:"duration" placeholder:"TIME" help:"Stop after this time. Default: run until interrupted."`
	Insecure bool          `name:"insecure" help:"Do not check the server's certificate (RTMPS). The one in the data folder is trusted anyway."`
}

func (c *publishCommand) Run(ctx context.Context) error {
	if c.Count < 1 || c.Count > 10_000 {
		return fmt.Errorf("--count %d: must be between 1 and 10000", c.Count)
	}
	if c.Count > 1 && !strings.Contains(c.To, "{n}") {
		return fmt.Errorf("--count %d needs {n} in %q, to name that many channels", c.Count, c.To)
	}
	if c.Duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.Duration)
		defer cancel()
	}
	addresses, err := c.addresses(ctx)
	if err != nil {
		return err
	}
	trust, err := c.trust(c.Insecure)
	if err != nil {
		return err
	}
	clip, err := c.clip(ctx)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	for i, address := range addresses {
		g.Go(func() error {
			// Spread over a second, so that their key frames do not coincide.
			delay := time.NewTimer(time.Duration(i) * time.Second / time.Duration(len(addresses)))
			defer delay.Stop()
			select {
			case <-ctx.Done():
				return nil
			case <-delay.C:
			}
			return publishTo(ctx, address, &paced{source: clip.loop()}, trust)
		})
	}
	fmt.Fprintf(os.Stderr, "publishing %d × %s\n", len(addresses), clip)
	return g.Wait()
}

// addresses returns the RTMP addresses to publish to, one per broadcast.
func (c *publishCommand) addresses(ctx context.Context) (addresses []string, err error) {
	var db *store.DB
	for n := range c.Count {
		to := strings.ReplaceAll(c.To, "{n}", strconv.Itoa(n+1))
		if strings.HasPrefix(to, "rtmp://") || strings.HasPrefix(to, "rtmps://") {
			addresses = append(addresses, to)
			continue
		}
		if db == nil {
			if db, err = store.Open(ctx, c.dsn()); err != nil {
				return nil, err
			}
			defer db.Close()
		}
		channel, key, err := c.channel(ctx, db, to)
		if err != nil {
			return nil, err
		}
		address := "rtmps://" + reachable(c.RTMPS)
		if channel.InsecureIngest {
			address = "rtmp://" + reachable(c.RTMP)
		}
		addresses = append(addresses, address+"/"+rtmp.App+"/"+key.Value)
	}
	return addresses, nil
}

func (c *publishCommand) channel(ctx context.Context, db *store.DB, to string) (ivs.Channel, ivs.StreamKey, error) {
	channel, key, err := channelNamed(ctx, db, c.scope(), to)
	if ivs.Is(err, ivs.NotFound) && c.Count > 1 {
		return createChannel(ctx, db, c.scope(), to, ivs.TypeStandard)
	}
	if ivs.Is(err, ivs.NotFound) {
		return channel, key, fmt.Errorf("no channel is named %q in %s: create it, or give an address rtmp://…", to, c.dsn())
	}
	return channel, key, err
}

// clip returns what is published over and over.
func (c *publishCommand) clip(ctx context.Context) (*clip, error) {
	if c.File == "" {
		return recordTestPattern(ctx, testPattern{Size: c.Size, FPS: c.FPS, Bitrate: c.Bitrate})
	}
	f, err := os.Open(c.File)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	clip, err := readClip(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w (other formats than FLV: ffmpeg -i FILE -c copy out.flv)", c.File, err)
	}
	return clip, nil
}

// publishTo publishes source to an RTMP address until it ends or ctx is done. It
// reconnects when the server requests it.
func publishTo(ctx context.Context, address string, source source, trust *tls.Config) error {
	for {
		again, err := publishOnce(ctx, address, source, trust)
		if !again || ctx.Err() != nil {
			return err
		}
	}
}

// publishOnce is publishTo for one connection. again is true if the server has requested
// another one.
func publishOnce(ctx context.Context, address string, source source, trust *tls.Config) (again bool, err error) {
	client, err := rtmp.Dial(ctx, address, trust)
	if err != nil {
		return false, ignoreDone(ctx, fmt.Errorf("publishing to %s: %w", withoutKey(address), err))
	}
	defer client.Close()
	for n := 0; ctx.Err() == nil && !client.Reconnect(); n++ {
		f, err := source.ReadFrame()
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		if err != nil {
			return false, ignoreDone(ctx, err)
		}
		if n == 0 { // what came before the first frame
			if m, ok := source.Metadata(); ok {
				err = client.WriteMetadata(m)
			}
		}
		if err == nil {
			err = client.WriteFrame(f)
		}
		if err != nil {
			return false, ignoreDone(ctx, fmt.Errorf("publishing to %s: %w", withoutKey(address), err))
		}
	}
	return ctx.Err() == nil, nil
}

// ignoreDone drops an error that was caused by the end of ctx.
func ignoreDone(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// withoutKey removes the stream key, a secret, from an address.
func withoutKey(address string) string {
	return address[:strings.LastIndexByte(address, '/')+1] + "…"
}

// A source is a broadcast that can be published.
type source interface {
	media.Reader
	Metadata() (flv.Metadata, bool)
}

func isDefaultData(path string) bool {
	abs, err := filepath.Abs("millrace-data")
	return err == nil && abs == path
}

// A testPattern is made by ffmpeg: colour bars that move, a clock, a tone.
type testPattern struct {
	Size    string // as 1280x720
	FPS     int
	Bitrate int  // of the video, kbit/s
	Live    bool // in real time with the time of day in the image; otherwise clipLength at once
}

const clipLength = 20 * time.Second

// command is the ffmpeg process that writes the pattern as FLV to its standard
// output.
func (p testPattern) command(ctx context.Context) *exec.Cmd {
	rate, bitrate := strconv.Itoa(p.FPS), strconv.Itoa(p.Bitrate)+"k"
	args := []string{"-hide_banner", "-loglevel", "error", "-nostdin"}
	input := fmt.Sprintf("testsrc2=size=%s:rate=%s", p.Size, rate)
	if p.Live {
		args = append(args, "-re")
	} else {
		args = append(args, "-t", fmt.Sprint(clipLength.Seconds()))
	}
	args = append(args, "-f", "lavfi", "-i", input)
	if p.Live {
		args = append(args, "-re")
	} else {
		args = append(args, "-t", fmt.Sprint(clipLength.Seconds()))
	}
	args = append(args, "-f", "lavfi", "-i", "sine=frequency=440:beep_factor=4:sample_rate=48000,volume=0.2")
	if p.Live {
		if filter := clockFilter(ctx, time.Now()); filter != "" {
			args = append(args, "-vf", filter)
		}
	}
	args = append(args,
		"-c:v", "libx264", "-preset", "veryfast", "-tune", "zerolatency", "-profile:v", "high", "-pix_fmt", "yuv420p",
		"-g", strconv.Itoa(2*p.FPS), "-sc_threshold", "0", "-b:v", bitrate, "-maxrate", bitrate, "-bufsize", bitrate,
		"-c:a", "aac", "-ac", "2", "-b:a", "128k",
		"-flush_packets", "1", "-f", "flv", "-")
	return exec.CommandContext(ctx, "ffmpeg", args...)
}

// clockFilter draws the time of day with its milliseconds over the image.
// Without a font for it, or a filter, which some builds of ffmpeg lack, the counter of the
// pattern must suffice.
func clockFilter(ctx context.Context, start time.Time) string {
	filters, err := exec.CommandContext(ctx, "ffmpeg", "-hide_banner", "-filters").Output()
	if err != nil || !bytes.Contains(filters, []byte(" drawtext ")) {
		return ""
	}
	for _, font := range []string{"/usr/share/fonts/truetype/dejavu/DejaVuSansMono-Bold.ttf", "/System/Library/Fonts/Menlo.ttc"} {
		if _, err := os.Stat(font); err == nil {
			midnight := time.Date(start.Year(), start.Month(), start.Day(), 0, 0, 0, 0, start.Location())
			return fmt.Sprintf(`drawtext=fontfile=%s:text='%%{pts\:hms\:%.3f}':fontsize=h/7:fontcolor=white:box=1:boxcolor=black@0.6:boxborderw=16:x=(w-tw)/2:y=(h-th)/2`, font, start.Sub(midnight).Seconds())
		}
	}
	return ""
}
