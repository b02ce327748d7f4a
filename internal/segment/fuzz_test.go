package segment_test

import (
	"errors"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/media/mediatest"
	"github.com/millrace/millrace/internal/segment"
	"github.com/millrace/millrace/internal/segment/segmenttest"
)

// script makes a stream of bytes, three for each frame: what it is, and how
// long after the one before it comes.
//
//	0x01 key frame        0x02 audio           0x04 the other video track
//	0x08 a discontinuity  0x10 another encoder 0x20 the clock goes back instead
//	0x40 shown 66 ms after it is decoded
func script(key, slice, audio media.Frame, other *media.Track, ops []byte) (frames []media.Frame, flags []byte) {
	at := time.Second
	for ; len(ops) >= 3; ops = ops[3:] {
		step := time.Duration(int(ops[1])<<8|int(ops[2])) * time.Millisecond / 4
		if ops[0]&0x20 != 0 {
			step = -min(step, at)
		}
		at += step
		f := slice
		switch {
		case ops[0]&0x02 != 0:
			f = audio
		case ops[0]&0x01 != 0:
			f = key
		}
		if ops[0]&0x04 != 0 && f.Track.IsVideo() {
			f.Track = other
		}
		f.DTS, f.PTS = at, at
		if ops[0]&0x40 != 0 && f.Track.IsVideo() {
			f.PTS += 66 * time.Millisecond
		}
		frames, flags = append(frames, f), append(flags, ops[0])
	}
	return frames, flags
}

// Whatever the times and kinds of frames, players are given HLS that obeys its
// rules, and a follower of the same frames is too. Only what cannot be, where
// frames are missing or the clock is wrong, is not asked for: parts of even
// length, and segments that last what their media does.
func FuzzCut(f *testing.F) {
	source := mediatest.Source{Seconds: 2}.Frames(f)
	video := mediatest.Keep(source, func(f media.Frame) bool { return f.Track.IsVideo() })
	audio := mediatest.Keep(source, func(f media.Frame) bool { return !f.Track.IsVideo() })[0]
	other := mediatest.Source{Seconds: 1, Size: "176x144"}.Frames(f)
	steady := []byte{}
	for i := range 300 {
		kind := byte(0)
		if i%60 == 0 {
			kind = 1
		}
		steady = append(steady, kind, 0, 133, 2, 0, 0)
	}
	f.Add(uint8(0), steady)
	f.Fuzz(func(t *testing.T, mode uint8, ops []byte) {
		if len(ops) > 3*2000 {
			return
		}
		s := &hls.Stream{Container: hls.Container(mode & 1), LowLatency: mode&2 == 0}
		p := segmenttest.NewPlayer(t, s)
		follower := segment.NewFollower(s.AddRendition("low", hls.Listing{}), p.Source, false)
		defer s.Release()
		behind := false
		frames, flags := script(video[0], video[1], audio, other[0].Track, ops)
		for i := range frames {
			if flags[i]&0x08 != 0 {
				if err := p.Source.Discontinuity(); err != nil {
					t.Fatal(err)
				}
			}
			if flags[i]&0x10 != 0 {
				p.Source.Splice()
			}
			p.Play(frames[i : i+1])
			if behind {
				continue
			}
			// The clock may go back so far that the cuts are not remembered any more.
			if err := follower.WriteFrame(frames[i]); errors.Is(err, segment.ErrBehind) {
				behind = true
			} else if err != nil {
				t.Fatal(err)
			}
		}
		p.Close()
		if err := follower.Close(); err != nil {
			t.Fatal(err)
		}
		p.Report(t, "part-length part-sum segment-times window")
	})
}
