package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"time"

	"github.com/millrace/millrace/internal/flv"
	"github.com/millrace/millrace/internal/media"
)

// A clip is a short broadcast held in memory, to be published many times.
type clip struct {
	metadata flv.Metadata
	frames   []media.Frame // they own their Data
	length   time.Duration // from one round to the next
}

// maxClip bounds the media of a clip.
const maxClip = 1 << 30

// readClip reads a whole FLV file.
func readClip(r io.Reader) (*clip, error) {
	c := &clip{}
	reader := flv.NewReader(r)
	size := 0
	for {
		f, err := reader.ReadFrame()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if size += len(f.Data); size > maxClip {
			return nil, fmt.Errorf("more than %d MB of media", maxClip>>20)
		}
		f.Data = slices.Clone(f.Data)
		c.frames = append(c.frames, f)
	}
	c.metadata, _ = reader.Metadata()
	return c, c.measure()
}

// measure finds how long one round is: to the end of the last video frame.
func (c *clip) measure() error {
	var first, last, step time.Duration
	count := 0
	for _, f := range c.frames {
		if !f.Track.IsVideo() {
			continue
		}
		if count == 0 {
			first = f.DTS
		}
		last, step, count = f.DTS, f.DTS-last, count+1
	}
	if count < 2 {
		return errors.New("it has fewer than two video frames")
	}
	c.length = last - first + step
	return nil
}

func (c *clip) String() string {
	for _, f := range c.frames {
		if v := f.Track.Video; v != nil {
			return fmt.Sprintf("%dx%d, %v in a loop", v.Width, v.Height, c.length.Round(time.Millisecond))
		}
	}
	return "no video"
}

// loop returns a source that plays the clip over and over, with increasing times.
func (c *clip) loop() *clipReader { return &clipReader{clip: c} }

type clipReader struct {
	*clip
	next   int
	offset time.Duration
}

func (r *clipReader) ReadFrame() (media.Frame, error) {
	if r.next == len(r.frames) {
		r.next = 0
		r.offset += r.length
	}
	f := r.frames[r.next]
	r.next++
	f.DTS += r.offset
	f.PTS += r.offset
	return f, nil
}

func (r *clipReader) Metadata() (flv.Metadata, bool) { return r.metadata, true }

// A paced source returns frames when they are due, each video frame stamped with the wall
// clock of that moment.
type paced struct {
	source
	began   time.Time
	first   time.Duration
	stamped []byte // the last video frame, behind its stamp
}

func (p *paced) ReadFrame() (media.Frame, error) {
	f, err := p.source.ReadFrame()
	if err != nil {
		return f, err
	}
	if p.began.IsZero() {
		p.began, p.first = time.Now(), f.DTS
	}
	time.Sleep(time.Until(p.began.Add(f.DTS - p.first)))
	if f.Track.IsVideo() {
		p.stamped = append(f.Track.Codec.AppendStamp(p.stamped[:0], time.Now()), f.Data...)
		f.Data = p.stamped
	}
	return f, nil
}

// recordTestPattern makes a clip of the test pattern.
func recordTestPattern(ctx context.Context, p testPattern) (*clip, error) {
	var stderr bytes.Buffer
	command := p.command(ctx)
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("ffmpeg could not make the test pattern: %w: %s", err, bytes.TrimSpace(stderr.Bytes()))
	}
	return readClip(bytes.NewReader(out))
}

// A livePattern is a test pattern while ffmpeg makes it.
type livePattern struct {
	*flv.Reader
	process *exec.Cmd
	stderr  bytes.Buffer
}

// startTestPattern starts ffmpeg; Close stops it.
func startTestPattern(ctx context.Context, p testPattern) (*livePattern, error) {
	l := &livePattern{process: p.command(ctx)}
	l.process.Stderr = &l.stderr
	out, err := l.process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := l.process.Start(); err != nil {
		return nil, fmt.Errorf("starting ffmpeg: %w", err)
	}
	l.Reader = flv.NewReader(out)
	return l, nil
}

// ReadFrame returns, at the end, an error with the message of ffmpeg.
func (l *livePattern) ReadFrame() (media.Frame, error) {
	f, err := l.Reader.ReadFrame()
	if errors.Is(err, io.EOF) {
		l.process.Wait()
		return f, fmt.Errorf("ffmpeg ended: %s", bytes.TrimSpace(l.stderr.Bytes()))
	}
	return f, err
}

// Close stops ffmpeg and waits for it.
func (l *livePattern) Close() error {
	l.process.Process.Kill() // it may have ended already
	l.process.Wait()
	return nil
}
