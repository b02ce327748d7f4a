package media_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/fmp4"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/media/mediatest"
	"github.com/millrace/millrace/internal/mpegts"
	"github.com/millrace/millrace/internal/wiretest"
)

const frameTime = 40 * time.Millisecond

// A message is the payload of one RTMP message of an encoder.
type message struct {
	at   int // in frames
	data string
}

// units puts NAL units in hexadecimal behind their lengths.
func units(nals ...string) string {
	var b []byte
	for _, nal := range nals {
		b = binary.BigEndian.AppendUint32(b, uint32(len(nal)/2))
		b = append(b, nal2bytes(nal)...)
	}
	return hex.EncodeToString(b)
}

func nal2bytes(nal string) []byte {
	b, err := hex.DecodeString(nal)
	if err != nil {
		panic(err) // a typo in this file
	}
	return b
}

// push returns what comes of messages, in hexadecimal, and their frames.
func push(t testing.TB, in *media.VideoInput, messages []message) (frames []media.Frame) {
	t.Helper()
	for _, m := range messages {
		at := time.Duration(m.at) * frameTime
		for _, f := range in.Push(nil, media.H264, wiretest.Hex(m.data), at, at) {
			f.Data = bytes.Clone(f.Data)
			frames = append(frames, f)
		}
	}
	for _, f := range in.Flush(nil) {
		f.Data = bytes.Clone(f.Data)
		frames = append(frames, f)
	}
	return frames
}

// NAL units of an access unit: slices that begin a frame, and those that continue it.
const (
	aud        = "0910"
	seiUnit    = "060100"
	firstIDR   = "658884"
	nextIDR    = "654221"
	firstSlice = "419a21"
	nextSlice  = "414621"
	anotherAU  = "419a42"
)

func TestMessagesBecomeAccessUnits(t *testing.T) {
	record := wiretest.Hex(avcRecords[0].record)
	for _, tt := range []struct {
		name     string
		messages []message
		want     []message
		joined   int64
	}{
		{
			"whole access units",
			[]message{{0, units(seiUnit, firstIDR, nextIDR)}, {1, units(firstSlice)}, {2, units(firstSlice, nextSlice)}},
			[]message{{0, units(seiUnit, firstIDR, nextIDR)}, {1, units(firstSlice)}, {2, units(firstSlice, nextSlice)}}, 0,
		},
		{
			"a slice in each message",
			[]message{{0, units(firstIDR)}, {0, units(nextIDR)}, {0, units(nextIDR)}, {1, units(firstSlice)}, {1, units(nextSlice)}, {2, units(firstSlice)}},
			[]message{{0, units(firstIDR, nextIDR, nextIDR)}, {1, units(firstSlice, nextSlice)}, {2, units(firstSlice)}}, 2,
		},
		{
			"a unit in each message",
			[]message{{0, units(aud)}, {0, units(seiUnit)}, {0, units(firstIDR)}, {0, units(nextIDR)}, {1, units(aud)}, {1, units(firstSlice)}, {1, units(nextSlice)}},
			[]message{{0, units(aud, seiUnit, firstIDR, nextIDR)}, {1, units(aud, firstSlice, nextSlice)}}, 2,
		},
		{
			"SEI alone",
			[]message{{0, units(seiUnit)}, {0, units(firstIDR)}, {1, units(seiUnit)}, {1, units(firstSlice)}, {2, units(seiUnit)}, {2, units(firstSlice)}},
			[]message{{0, units(seiUnit, firstIDR)}, {1, units(seiUnit, firstSlice)}, {2, units(seiUnit, firstSlice)}}, 3,
		},
		{
			"SEI alone with the time of the frame before",
			[]message{{0, units(firstIDR)}, {0, units(seiUnit)}, {1, units(firstSlice)}, {1, units(seiUnit)}, {2, units(firstSlice)}},
			[]message{{0, units(firstIDR)}, {1, units(seiUnit, firstSlice)}, {2, units(seiUnit, firstSlice)}}, 2,
		},
		{
			"frames of one time",
			[]message{{0, units(firstIDR)}, {0, units(firstSlice)}, {0, units(anotherAU)}, {1, units(firstSlice)}},
			[]message{{0, units(firstIDR)}, {0, units(firstSlice)}, {0, units(anotherAU)}, {1, units(firstSlice)}}, 0,
		},
		{
			"no first slice, and no time that is known",
			[]message{{0, units(firstIDR)}, {1, units(nextSlice)}, {2, units(nextSlice)}},
			[]message{{0, units(firstIDR)}, {1, units(nextSlice)}, {2, units(nextSlice)}}, 0,
		},
		{
			"filler alone",
			[]message{{0, units(firstIDR)}, {0, units("0cff80")}, {1, units(firstSlice)}, {2, units("0cff80")}, {3, units(firstSlice)}},
			[]message{{0, units(firstIDR, "0cff80")}, {1, units(firstSlice)}, {3, units(firstSlice)}}, 1,
		},
	} {
		in := &media.VideoInput{}
		if _, err := in.Configure(nil, media.H264, record); err != nil {
			t.Fatal(err)
		}
		var got []message
		for _, f := range push(t, in, tt.messages) {
			got = append(got, message{int(f.DTS / frameTime), hex.EncodeToString(f.Data)})
			if !f.Track.WellFormed(f.Data) || f.Key != strings.Contains(hex.EncodeToString(f.Data), firstIDR) {
				t.Errorf("%s: frame %+v", tt.name, f)
			}
		}
		if !slices.Equal(got, tt.want) || in.Stats != (media.InputStats{Joined: tt.joined}) {
			t.Errorf("%s:\n%v, want\n%v; %+v", tt.name, got, tt.want, in.Stats)
		}
	}
}

// An access unit has no end: what goes beyond 8 MiB of it is left out and counted,
// and the next one is whole.
func TestEndlessAccessUnit(t *testing.T) {
	const megabyte = 1 << 20
	long := func(head string) string { return units(head + strings.Repeat("ab", megabyte)) }
	for name, tt := range map[string]struct {
		first, more string
		malformed   int64
	}{
		"slices": {units(firstIDR), long(nextIDR), 13}, // seven fit
		"SEI":    {long(seiUnit), long(seiUnit), 2},    // each time that eight have come, they are left out
	} {
		in := &media.VideoInput{}
		if _, err := in.Configure(nil, media.H264, wiretest.Hex(avcRecords[0].record)); err != nil {
			t.Fatal(err)
		}
		messages := []message{{0, tt.first}}
		for range 20 {
			messages = append(messages, message{0, tt.more})
		}
		for _, f := range push(t, in, append(messages, message{1, units(firstIDR)})) {
			if len(f.Data) > 8<<20 || !f.Track.WellFormed(f.Data) {
				t.Errorf("%s: a frame of %d bytes", name, len(f.Data))
			}
		}
		if in.Stats.Malformed != tt.malformed {
			t.Errorf("%s: %+v, want %d messages left out", name, in.Stats, tt.malformed)
		}
	}
}

// The first frame of a stream may be a part of one. Audio that is later shows that
// it was not, so that it does not wait for a whole frame's time.
func TestAudioShowsThatAFrameIsComplete(t *testing.T) {
	in := &media.VideoInput{}
	if _, err := in.Configure(nil, media.H264, wiretest.Hex(avcRecords[0].record)); err != nil {
		t.Fatal(err)
	}
	if got := in.Push(nil, media.H264, wiretest.Hex(units(firstIDR)), frameTime, frameTime); len(got) != 0 {
		t.Fatalf("the first unit is handed on at once: %+v", got)
	}
	if got := in.FlushBefore(nil, frameTime); len(got) != 0 {
		t.Errorf("audio of the same time: %+v", got)
	}
	if got := in.FlushBefore(nil, 2*frameTime); len(got) != 1 || !got[0].Key {
		t.Errorf("audio that is later: %+v", got)
	}
	if got := in.Push(nil, media.H264, wiretest.Hex(units(firstSlice)), 2*frameTime, 2*frameTime); len(got) != 1 {
		t.Errorf("the next frame waits: %+v", got)
	}
}

// An encoder that turns out to send slices one by one loses the frame at which that
// shows, and no other.
func TestSlicesOneByOneFromTheMiddleOn(t *testing.T) {
	in := &media.VideoInput{}
	if _, err := in.Configure(nil, media.H264, wiretest.Hex(avcRecords[0].record)); err != nil {
		t.Fatal(err)
	}
	frames := push(t, in, []message{
		{0, units(firstIDR, nextIDR)}, {1, units(firstSlice)}, {1, units(nextSlice)}, {2, units(firstSlice)}, {2, units(nextSlice)}, {3, units(firstSlice)}, {3, units(nextSlice)},
	})
	if len(frames) != 4 || in.Stats.Malformed != 1 || in.Stats.Joined != 2 {
		t.Errorf("%d frames, %+v", len(frames), in.Stats)
	}
}

// An access unit that is held belongs to the parameter sets that were in force when
// it came: those behind it count for the next one, even if they make no sense.
func TestSetsBehindAHeldUnit(t *testing.T) {
	record := wiretest.Hex(avcRecords[0].record)
	alone := "68" + hex.EncodeToString(bytesOf("1"+"00100"+"1")) // pps 0 of sps 3, which nobody sent
	in := &media.VideoInput{}
	if _, err := in.Configure(nil, media.H264, record); err != nil {
		t.Fatal(err)
	}
	frames := push(t, in, []message{{0, units(firstIDR)}, {1, units(alone)}, {2, units(firstIDR)}})
	if len(frames) != 1 || frames[0].Track.Video.Height == 0 || in.Stats.Early != 1 {
		t.Errorf("%+v, %+v", frames, in.Stats)
	}
	// A header, too, comes behind what is held.
	in = &media.VideoInput{}
	if _, err := in.Configure(nil, media.H264, record); err != nil {
		t.Fatal(err)
	}
	if got := in.Push(nil, media.H264, wiretest.Hex(units(firstIDR)), 0, 0); len(got) != 0 {
		t.Fatalf("the first unit is handed on at once: %+v", got)
	}
	got, err := in.Configure(nil, media.H264, wiretest.Hex(avcRecords[2].record))
	if err != nil || len(got) != 1 || got[0].Track.RFC6381() != avcRecords[0].codec {
		t.Errorf("%+v, %v", got, err)
	}
}

// sets are the parameter sets of a record.
func sets(t testing.TB, record string) (sps, pps string) {
	t.Helper()
	track, err := media.NewTrack(media.H264, wiretest.Hex(record))
	if err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(track.Video.Sets[0]), hex.EncodeToString(track.Video.Sets[1])
}

func TestParameterSetsInBand(t *testing.T) {
	hd, sd := avcRecords[0], avcRecords[2]
	hdSPS, hdPPS := sets(t, hd.record)
	sdSPS, sdPPS := sets(t, sd.record)
	in := &media.VideoInput{}
	heights := func(messages ...message) (all []int, tracks []*media.Track) {
		for _, f := range push(t, in, messages) {
			all, tracks = append(all, f.Track.Video.Height), append(tracks, f.Track)
		}
		return all, tracks
	}
	// Without a header, the first key frame has all that is needed.
	if in.Configured() {
		t.Error("configured by nothing")
	}
	got, tracks := heights(message{0, units(firstSlice)}, message{1, units(sdSPS, sdPPS, firstIDR)}, message{2, units(firstSlice)}, message{3, units(sdSPS, sdPPS, firstIDR)})
	if !slices.Equal(got, []int{360, 360, 360}) || tracks[0] != tracks[2] || in.Stats != (media.InputStats{Early: 1}) {
		t.Errorf("in band alone: %v, %v, %+v", got, tracks, in.Stats)
	}
	if again, err := media.NewTrack(media.H264, tracks[0].Config); err != nil || again.Video.Height != 360 || again.RFC6381() != sd.codec {
		t.Errorf("its configuration: %+v, %v", again, err)
	}
	// A key frame with other sets is of another track; the same sets are not.
	got, tracks = heights(message{4, units(firstSlice)}, message{5, units(hdSPS, hdPPS, firstIDR)}, message{6, units(firstSlice)}, message{7, units(firstIDR)}, message{8, units(sdSPS, sdPPS, firstIDR)})
	if !slices.Equal(got, []int{360, 1080, 1080, 1080, 360}) || tracks[1] != tracks[3] {
		t.Errorf("changed in band: %v", got)
	}
	// A header that contradicts the key frames gives way to them, and changes nothing
	// between them.
	track := tracks[4]
	for i := range 3 {
		if _, err := in.Configure(nil, media.H264, wiretest.Hex(hd.record)); err != nil {
			t.Fatal(err)
		}
		got, tracks = heights(message{9 + 2*i, units(firstSlice)}, message{10 + 2*i, units(sdSPS, sdPPS, firstIDR)})
		if !slices.Equal(got, []int{360, 360}) || tracks[0] != track || tracks[1] != track {
			t.Errorf("against the header: %v", got)
		}
	}
	// Damaged sets are left out.
	got, _ = heights(message{20, units("6764", "68", hdSPS[:20], firstIDR)})
	if !slices.Equal(got, []int{360}) || in.Stats.BadConfigs == 0 {
		t.Errorf("damaged sets: %v, %+v", got, in.Stats)
	}
}

// The configuration of a track from sets in band says what a decoder must know of
// a High profile (ISO/IEC 14496-15, 5.3.3.1.2): chroma format and depth.
func TestHighProfileInBand(t *testing.T) {
	for record, want := range map[string]string{avcRecords[0].record: "fdf8f800", avcRecords[2].record: "", avcRecords[6].record: "fff8f800"} {
		sps, pps := sets(t, record)
		in := &media.VideoInput{}
		frames := push(t, in, []message{{0, units(sps, pps, firstIDR)}, {1, units(firstSlice)}})
		if len(frames) == 0 {
			t.Fatal("no frame")
		}
		config := hex.EncodeToString(frames[0].Track.Config)
		if tail, ok := strings.CutPrefix(config[strings.LastIndex(config, pps):], pps); !ok || tail != want {
			t.Errorf("profile %s: the configuration %s ends with %q behind the sets, want %q", frames[0].Track.Video.Profile, config, tail, want)
		}
	}
}

// The image size is that of the sequence parameter set that the slices refer to, not
// that of the first one in the record.
func TestUnusedParameterSet(t *testing.T) {
	sps, pps := sets(t, avcRecords[2].record) // set 0
	unused, _ := sets(t, avcRecords[0].record)
	b := nal2bytes(unused)
	// seq_parameter_set_id is ue(v) behind three bytes: from 0 (1) to 1 (010) moves what
	// follows by two bits.
	tail := "010" + bitsOf(b[4:])[1:]
	b = append(b[:4:4], bytesOf(tail)...)
	record := slices.Concat(wiretest.Hex("0142c01effe2"), length16(b), b, length16(nal2bytes(sps)), nal2bytes(sps), []byte{1}, length16(nal2bytes(pps)), nal2bytes(pps))
	track, err := media.NewTrack(media.H264, record)
	if err != nil || track.Video.Height != 1080 || len(track.Video.Sets) != 3 {
		t.Fatalf("record % x: %+v, %v", record, track, err)
	}
	in := &media.VideoInput{}
	if _, err := in.Configure(nil, media.H264, record); err != nil {
		t.Fatal(err)
	}
	frames := push(t, in, []message{{0, units(seiUnit, firstIDR)}, {1, units(firstSlice)}})
	if _, err := in.Configure(nil, media.H264, record); err != nil {
		t.Fatal(err)
	}
	frames = append(frames, push(t, in, []message{{2, units(firstIDR)}})...)
	for _, f := range frames {
		if v := f.Track.Video; v.Width != 640 || v.Height != 360 || f.Track.RFC6381() != avcRecords[2].codec || f.Track != frames[0].Track {
			t.Errorf("%dx%d, %s", v.Width, v.Height, f.Track.RFC6381())
		}
	}
}

func length16(b []byte) []byte { return binary.BigEndian.AppendUint16(nil, uint16(len(b))) }

func bitsOf(b []byte) string {
	var s strings.Builder
	for _, x := range b {
		for i := 7; i >= 0; i-- {
			s.WriteByte('0' + x>>i&1)
		}
	}
	return s.String()
}

func bytesOf(bits string) (b []byte) {
	bits = strings.TrimRight(bits, "0")
	for len(bits)%8 != 0 {
		bits += "0"
	}
	for i := 0; i < len(bits); i += 8 {
		var x byte
		for _, c := range bits[i : i+8] {
			x = x<<1 | byte(c-'0')
		}
		b = append(b, x)
	}
	return b
}

// asSent is a stream of two sizes as an encoder without sequence headers sends it,
// with each NAL unit in a message of its own.
func asSent(t testing.TB) (messages [][]byte, times []time.Duration, frames int) {
	t.Helper()
	for i, size := range []string{"640x360", "426x240"} {
		source := mediatest.Source{Size: size, Seconds: 1, NoAudio: true, GOP: 15, X264: ":slices=4"}
		for _, f := range source.Frames(t) {
			frames++
			dts := f.DTS + time.Duration(i)*time.Second
			add := func(nal []byte) {
				messages = append(messages, append(binary.BigEndian.AppendUint32(nil, uint32(len(nal))), nal...))
				times = append(times, dts)
			}
			if f.Key {
				add(f.Track.Video.Sets[0])
				add(f.Track.Video.Sets[1])
			}
			for nal := range media.NALs(f.Data) {
				add(nal)
			}
		}
	}
	return messages, times, frames
}

// ffmpeg decodes each frame of such a stream, from a transport stream and from
// fragments, and sees both sizes.
func TestRealUnitsOneByOne(t *testing.T) {
	if testing.Short() {
		t.Skip("starts ffmpeg, which decodes")
	}
	messages, times, want := asSent(t)
	in := &media.VideoInput{}
	var frames []media.Frame
	take := func(ready []media.Frame) {
		for _, f := range ready {
			f.Data = bytes.Clone(f.Data)
			frames = append(frames, f)
		}
	}
	for i, m := range messages {
		take(in.Push(nil, media.H264, m, times[i], times[i]))
	}
	take(in.Flush(nil))
	if len(frames) != want || in.Stats.Malformed != 0 || in.Stats.Early != 0 {
		t.Fatalf("%d frames of %d messages, want %d; %+v", len(frames), len(messages), want, in.Stats)
	}
	var heights []int
	var parts [][]media.Frame
	for i, f := range frames {
		if i == 0 || f.Track != frames[i-1].Track {
			heights, parts = append(heights, f.Track.Video.Height), append(parts, nil)
		}
		parts[len(parts)-1] = append(parts[len(parts)-1], f)
	}
	if !slices.Equal(heights, []int{360, 240}) {
		t.Fatalf("heights %v", heights)
	}
	for _, part := range parts {
		end := part[len(part)-1].DTS + time.Second/30
		ts, mp4 := &mpegts.Muxer{Video: part[0].Track}, &fmp4.Muxer{Video: part[0].Track}
		var tsFile []byte
		file := fmp4.Init(nil, part[0].Track, nil)
		for _, f := range part {
			tsFile, file = ts.Append(tsFile, f), mp4.Append(file, f)
		}
		if n := mediatest.Decode(t, "ts", ts.EndPart(tsFile, end)); n != len(part) {
			t.Errorf("%d of %d frames in a transport stream of %d lines", n, len(part), part[0].Track.Video.Height)
		}
		if n := mediatest.Decode(t, "mp4", mp4.EndPart(file, end)); n != len(part) {
			t.Errorf("%d of %d frames in fragments of %d lines", n, len(part), part[0].Track.Video.Height)
		}
	}
}

// However many parameter sets come, a configuration can hold those that are in force.
func TestManyParameterSets(t *testing.T) {
	sps, pps := sets(t, avcRecords[2].record)
	for name, padding := range map[string]int{"many": 0, "large": 200} {
		t.Run(name, func(t *testing.T) {
			in := &media.VideoInput{}
			frames := push(t, in, []message{{0, units(sps, pps, firstIDR)}})
			for id := range 256 {
				// Two Exp-Golomb codes: pic_parameter_set_id, and a seq_parameter_set_id of 0.
				code := fmt.Sprintf("%0*b1", 2*bits.Len(uint(id+1))-1, id+1)
				v, err := strconv.ParseUint((code + "1" + strings.Repeat("0", 32))[:32], 2, 32)
				if err != nil {
					t.Fatal(err)
				}
				set := append(binary.BigEndian.AppendUint32([]byte{0x68}, uint32(v)), bytes.Repeat([]byte{0x5a}, padding)...)
				frames = append(frames, push(t, in, []message{{id + 1, units(hex.EncodeToString(set), firstIDR)}})...)
			}
			if len(frames) != 257 || in.Stats.BadConfigs == 0 {
				t.Errorf("%d frames; %+v", len(frames), in.Stats)
			}
			for _, f := range frames {
				if _, err := media.NewTrack(media.H264, f.Track.Config); err != nil {
					t.Fatalf("frame at %v: %v", f.DTS, err)
				}
			}
		})
	}
}

// Whatever messages hold, the frames that come of them are well-formed, and those of
// an encoder that sends in order are in order.
func FuzzH264Input(f *testing.F) {
	sps, pps := sets(f, avcRecords[2].record)
	f.Add(wiretest.Hex(avcRecords[0].record), wiretest.Hex(units(sps, pps, firstIDR)), wiretest.Hex(units(nextIDR)), wiretest.Hex(units(firstSlice)))
	f.Add([]byte{}, wiretest.Hex("00000001"+sps+"00000001"+pps+"000001"+firstIDR), wiretest.Hex("0003"+firstSlice), wiretest.Hex("03"+firstSlice))
	f.Add(wiretest.Hex(avcRecords[1].record[:8]+"fd"+avcRecords[1].record[10:]), wiretest.Hex("0003"+firstIDR+"0000"), wiretest.Hex(units(aud)), wiretest.Hex(units(nextSlice)))
	f.Fuzz(func(t *testing.T, config, a, b, c []byte) {
		in := &media.VideoInput{}
		in.Configure(nil, media.H264, config) // most are damaged
		var last time.Duration
		check := func(frames []media.Frame) {
			for _, f := range frames {
				if f.Track == nil || len(f.Data) == 0 || !f.Track.WellFormed(f.Data) || f.DTS < last {
					t.Fatalf("frame %+v after %v", f, last)
				}
				last = f.DTS
				f.Track.AppendElementary(nil, f.Data, f.Key)
				fmp4.Init(nil, f.Track, nil)
				if _, err := media.NewTrack(media.H264, f.Track.Config); err != nil {
					t.Fatalf("configuration % x: %v", f.Track.Config, err)
				}
			}
		}
		for i, data := range [][]byte{a, b, b, c, a, c} {
			at := time.Duration(i/2) * frameTime
			check(in.Push(nil, media.H264, data, at, at))
			check(in.FlushBefore(nil, at))
			if i == 3 {
				frames, _ := in.Configure(nil, media.H264, config)
				check(frames)
			}
		}
		check(in.Flush(nil))
	})
}
