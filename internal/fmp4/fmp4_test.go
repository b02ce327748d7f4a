package fmp4

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/wiretest"
)

// An AVCDecoderConfigurationRecord of 160x90 as libx264 makes it, whose frames have
// two-byte lengths at the encoder.
const avcC = "01 42c00b fd e1 0018 6742c00bd9028df930110000030001000003003c0f142a48 01 0005 68cb83cb20"

var (
	video = h264(avcC)
	audio = &media.Track{Codec: media.AAC, Config: []byte{0x11, 0x90}, Audio: &media.AudioConfig{FrameSamples: 1024, SampleRate: 48000, Channels: 2}}
)

func h264(config string) *media.Track {
	t, err := media.NewTrack(media.H264, wiretest.Hex(config))
	if err != nil {
		panic(err) // a typo in this file
	}
	return t
}

// tree lists the boxes in b, those with children as "moov(…)".
func tree(t *testing.T, b []byte) string {
	t.Helper()
	var names []string
	for len(b) > 0 {
		if len(b) < 8 || int(binary.BigEndian.Uint32(b)) > len(b) || binary.BigEndian.Uint32(b) < 8 {
			t.Fatalf("box header % x", b[:min(len(b), 8)])
		}
		n, name := binary.BigEndian.Uint32(b), string(b[4:8])
		body := b[8:n]
		switch name {
		case "moov", "trak", "mdia", "minf", "dinf", "stbl", "mvex", "moof", "traf":
			name += "(" + tree(t, body) + ")"
		case "dref", "stsd":
			name += "(" + tree(t, body[8:]) + ")"
		case "avc1":
			name += "(" + tree(t, body[78:]) + ")"
		case "mp4a":
			name += "(" + tree(t, body[28:]) + ")"
		}
		names = append(names, name)
		b = b[n:]
	}
	return strings.Join(names, " ")
}

func TestInit(t *testing.T) {
	const (
		v = "trak(tkhd mdia(mdhd hdlr minf(vmhd dinf(dref(url )) stbl(stsd(avc1(avcC)) stts stsc stco stsz))))"
		a = "trak(tkhd mdia(mdhd hdlr minf(smhd dinf(dref(url )) stbl(stsd(mp4a(esds)) stts stsc stco stsz))))"
	)
	tests := []struct {
		video, audio *media.Track
		want         string
	}{
		{video, audio, "ftyp moov(mvhd " + v + " " + a + " mvex(trex trex))"},
		{video, nil, "ftyp moov(mvhd " + v + " mvex(trex))"},
		{nil, audio, "ftyp moov(mvhd " + a + " mvex(trex))"},
	}
	for _, tt := range tests {
		got := Init(nil, tt.video, tt.audio)
		if diff := cmp.Diff(tt.want, tree(t, got)); diff != "" {
			t.Errorf("boxes (-want +got):\n%s", diff)
		}
	}
	got := Init(nil, video, audio)
	config := wiretest.Hex(avcC)
	config[4] = 0xff // four-byte lengths
	for what, want := range map[string][]byte{
		"avcC":           append([]byte("avcC"), config...),
		"size of avc1":   wiretest.Hex("0000 0000 0000 0000 0000 0000 00a0 005a"),
		"size of tkhd":   wiretest.Hex("00a00000 005a0000"),
		"esds":           wiretest.Hex("65736473 00000000 03 80808022 0002 00 04 80808014 40 15 000000 00000000 00000000 05 80808002 1190 06 80808001 02"),
		"mp4a":           wiretest.Hex("0002 0010 0000 0000 bb800000"),
		"time scale":     wiretest.Hex("6d646864 00000000 00000000 00000000 00015f90"),
		"time of audio":  wiretest.Hex("6d646864 00000000 00000000 00000000 0000bb80"),
		"trex for video": wiretest.Hex("74726578 00000000 00000001 00000001"),
		"trex for audio": wiretest.Hex("74726578 00000000 00000002 00000001"),
	} {
		if !bytes.Contains(got, want) {
			t.Errorf("%s: % x is not in\n% x", what, want, got)
		}
	}
	high := Init(nil, nil, &media.Track{Codec: media.AAC, Config: []byte{0x10, 0x10}, Audio: &media.AudioConfig{FrameSamples: 1024, SampleRate: 96000, Channels: 2}})
	for what, want := range map[string][]byte{
		"rate that has no place": wiretest.Hex("0002 0010 0000 0000 00000000"),
		"time of audio":          wiretest.Hex("6d646864 00000000 00000000 00000000 00017700"),
	} {
		if !bytes.Contains(high, want) {
			t.Errorf("%s: % x is not in\n% x", what, want, high)
		}
	}
}

// A run is a parsed traf box.
type run struct {
	Track   uint32
	Start   uint64
	Samples []string // duration, size, "key" or "", composition offset
	Data    string
}

// runs takes a fragment apart.
func runs(t *testing.T, b []byte) (sequence uint32, all []run) {
	t.Helper()
	moof := b[:binary.BigEndian.Uint32(b)]
	be := binary.BigEndian
	sequence = be.Uint32(moof[20:])
	for rest := moof[24:]; len(rest) > 0; rest = rest[be.Uint32(rest):] {
		traf := rest[8:be.Uint32(rest)]
		tfhd, traf := traf[:be.Uint32(traf)], traf[be.Uint32(traf):]
		tfdt, trun := traf[:be.Uint32(traf)], traf[be.Uint32(traf):]
		r := run{Track: be.Uint32(tfhd[12:]), Start: be.Uint64(tfdt[12:])}
		flags, offset, entries := be.Uint32(trun[8:])&0xffffff, be.Uint32(trun[16:]), trun[20:]
		for range be.Uint32(trun[12:]) {
			s := fmt.Sprint(be.Uint32(entries), " ", be.Uint32(entries[4:]))
			size := be.Uint32(entries[4:])
			entries = entries[8:]
			if flags&0xc00 != 0 {
				s += map[uint32]string{syncSample: " key", nonSyncSample: ""}[be.Uint32(entries)]
				s += fmt.Sprint(" ", int32(be.Uint32(entries[4:])))
				entries = entries[8:]
			}
			r.Samples = append(r.Samples, s)
			r.Data += string(b[offset : offset+size])
			offset += size
		}
		if len(entries) != 0 {
			t.Errorf("%d bytes behind the entries of trun", len(entries))
		}
		all = append(all, r)
	}
	return sequence, all
}

const ms = time.Millisecond

func videoFrame(dts, pts int, key bool, data string) media.Frame {
	return media.Frame{Track: video, DTS: time.Duration(dts) * ms, PTS: time.Duration(pts) * ms, Key: key, Data: []byte(data)}
}

func audioFrame(pts int, data string) media.Frame {
	return media.Frame{Track: audio, DTS: time.Duration(pts) * ms, PTS: time.Duration(pts) * ms, Key: true, Data: []byte(data)}
}

func TestFragment(t *testing.T) {
	m := &Muxer{Video: video, Audio: audio}
	for _, f := range []media.Frame{
		videoFrame(1000, 1080, true, "I"), audioFrame(1000, "a"), videoFrame(1040, 1030, false, "pp"), audioFrame(1021, "bb"),
		{Track: &media.Track{}, Data: []byte("not ours")},
	} {
		if out := m.Append(nil, f); len(out) != 0 {
			t.Errorf("Append wrote %q", out)
		}
	}
	b := m.EndPart([]byte{}, 1080*ms)
	if got, want := tree(t, b), "moof(mfhd traf(tfhd tfdt trun) traf(tfhd tfdt trun)) mdat"; got != want {
		t.Errorf("boxes %s, want %s", got, want)
	}
	sequence, got := runs(t, b)
	want := []run{
		{Track: 1, Start: 90000, Samples: []string{"3600 1 key 7200", "3600 2 -900"}, Data: "Ipp"},
		{Track: 2, Start: 48000, Samples: []string{"1024 1", "1024 2"}, Data: "abb"},
	}
	if diff := cmp.Diff(want, got); diff != "" || sequence != 1 {
		t.Errorf("fragment %d (-want +got):\n%s", sequence, diff)
	}
	if b := m.EndPart(nil, 0); len(b) != 0 {
		t.Errorf("a fragment of nothing has %d bytes", len(b))
	}
	m.Append(nil, audioFrame(1043, "c"))
	sequence, got = runs(t, m.EndPart(nil, 1100*ms))
	want = []run{{Track: 2, Start: 50048, Samples: []string{"1024 1"}, Data: "c"}}
	if diff := cmp.Diff(want, got); diff != "" || sequence != 2 {
		t.Errorf("fragment %d (-want +got):\n%s", sequence, diff)
	}
}

// A fragment's prefix stays: data offsets count from the moof.
func TestFragmentBehindOthers(t *testing.T) {
	m := &Muxer{Video: video}
	m.Append(nil, videoFrame(0, 0, true, "x"))
	b := m.EndPart([]byte("before"), 40*ms)
	if _, got := runs(t, b[6:]); string(b[:6]) != "before" || got[0].Data != "x" {
		t.Errorf("%q, %+v", b[:6], got)
	}
}

// Each fragment of video starts where the one before it ended.
func TestVideoTimes(t *testing.T) {
	tests := []struct {
		name      string
		end       int // of the first fragment
		next      [2]int
		wantStart uint64
		want      []string
	}{
		{"as expected", 80, [2]int{80, 120}, 7200, []string{"3600 1 0", "3600 1 0"}},
		{"a little late", 80, [2]int{83, 120}, 7200, []string{"3600 1 270", "3600 1 0"}},
		{"a little early", 80, [2]int{78, 120}, 7200, []string{"3600 1 -180", "3600 1 0"}},
		{"hole", 80, [2]int{280, 320}, 7200, []string{"21600 1 18000", "3600 1 0"}},
		{"long hole", 80, [2]int{1080, 1120}, 97200, []string{"3600 1 0", "3600 1 0"}},
		{"standing clock", 80, [2]int{80, 80}, 7200, []string{"1 1 0", "3600 1 -1"}},
		{"clock that goes back", 80, [2]int{80, 40}, 7200, []string{"1 1 0", "3600 1 -3601"}},
		{"end before its frame", 0, [2]int{80, 120}, 3601, []string{"7199 1 3599", "3600 1 0"}},
	}
	for _, tt := range tests {
		m := &Muxer{Video: video}
		m.Append(nil, videoFrame(0, 0, true, "x"))
		m.Append(nil, videoFrame(40, 40, false, "x"))
		m.EndPart(nil, time.Duration(tt.end)*ms)
		m.Append(nil, videoFrame(tt.next[0], tt.next[0], false, "x"))
		m.Append(nil, videoFrame(tt.next[1], tt.next[1], false, "x"))
		end := time.Duration(tt.next[1]+40) * ms
		if tt.next[1] <= tt.next[0] {
			end = time.Duration(tt.next[0]+40)*ms + time.Second/90000
		}
		_, got := runs(t, m.EndPart(nil, end))
		if diff := cmp.Diff(tt.want, got[0].Samples); diff != "" || got[0].Start != tt.wantStart {
			t.Errorf("%s: starts at %d, want %d; samples (-want +got):\n%s", tt.name, got[0].Start, tt.wantStart, diff)
		}
	}
}

// Audio is counted in samples until the clock disagrees by more than a frame.
func TestAudioTimes(t *testing.T) {
	tests := []struct {
		name  string
		at    []int // milliseconds; the second fragment begins behind -1
		start uint64
		want  []string
	}{
		{"rounded", []int{0, 21, -1, 43, 64, 85}, 2048, []string{"1024 1", "1024 1", "1024 1"}},
		{"hole between fragments", []int{0, 21, -1, 143, 164}, 6864, []string{"1024 1", "1024 1"}},
		{"hole in a fragment", []int{0, 21, -1, 43, 164}, 2048, []string{"5824 1", "1024 1"}},
		{"surplus", []int{0, 21, -1, 43, 45, 46, 47, 48, 90}, 2048, []string{"1024 1", "1024 1", "1024 1", "1024 1"}},
		{"before zero", []int{-50, -28, -1, 20}, 2048, []string{"1024 1"}},
	}
	for _, tt := range tests {
		m := &Muxer{Audio: audio}
		for _, at := range tt.at {
			if at == -1 {
				m.EndPart(nil, 0)
			} else {
				m.Append(nil, audioFrame(at, "x"))
			}
		}
		_, got := runs(t, m.EndPart(nil, 0))
		if diff := cmp.Diff(tt.want, got[0].Samples); diff != "" || got[0].Start != tt.start {
			t.Errorf("%s: starts at %d, want %d; samples (-want +got):\n%s", tt.name, got[0].Start, tt.start, diff)
		}
	}
}

// An hour of audio in milliseconds stays together, sample by sample.
func TestAudioDoesNotDrift(t *testing.T) {
	for _, rate := range []int{44100, 48000} {
		track := &media.Track{Codec: media.AAC, Audio: &media.AudioConfig{SampleRate: rate, FrameSamples: 1024}}
		m := &Muxer{Audio: track}
		var samples, end uint64
		for n := range int64(3600) * int64(rate) / 1024 {
			at := (time.Duration(n) * 1024 * time.Second / time.Duration(rate)).Truncate(ms)
			m.Append(nil, media.Frame{Track: track, DTS: at, PTS: at, Data: []byte{1}})
			if n%13 != 0 {
				continue
			}
			_, got := runs(t, m.EndPart(nil, 0))
			if samples > 0 && got[0].Start != end {
				t.Fatalf("%d Hz: fragment at %d after one that ended at %d", rate, got[0].Start, end)
			}
			samples += uint64(len(got[0].Samples))
			end = got[0].Start + 1024*uint64(len(got[0].Samples))
		}
		if end != 1024*samples {
			t.Errorf("%d Hz: %d samples end at %d", rate, samples, end)
		}
	}
}

func TestTicks(t *testing.T) {
	for _, tt := range []struct {
		d     time.Duration
		scale int64
		want  int64
	}{{0, 90000, 0}, {time.Second, 90000, 90000}, {ms, 44100, 44}, {2 * time.Second / 3, 48000, 32000}, {100 * 365 * 24 * time.Hour, 90000, 3153600000 * 90000}} {
		if got := ticks(tt.d, tt.scale); got != tt.want {
			t.Errorf("ticks(%v, %d) = %d, want %d", tt.d, tt.scale, got, tt.want)
		}
	}
}

func TestNoAllocations(t *testing.T) {
	m := &Muxer{Video: video, Audio: audio}
	var part []byte
	now := time.Duration(0)
	data := make([]byte, 4096)
	write := func() {
		for range 9 {
			m.Append(nil, media.Frame{Track: video, DTS: now, PTS: now, Data: data})
			m.Append(nil, media.Frame{Track: audio, DTS: now, PTS: now, Data: data[:200]})
			now += 33 * ms
		}
		part = m.EndPart(part[:0], now)
	}
	write()
	if n := testing.AllocsPerRun(100, write); n != 0 {
		t.Errorf("%g allocations", n)
	}
}

func FuzzMuxer(f *testing.F) {
	f.Add([]byte("frame"), int64(0), int64(40), int64(20))
	f.Add([]byte{}, int64(-1<<62), int64(1<<62), int64(0))
	f.Fuzz(func(t *testing.T, data []byte, a, b, c int64) {
		m := &Muxer{Video: video, Audio: audio}
		for _, at := range []int64{a, b, c} {
			m.Append(nil, media.Frame{Track: video, DTS: time.Duration(at), PTS: time.Duration(b), Data: data})
			m.Append(nil, media.Frame{Track: audio, DTS: time.Duration(at), PTS: time.Duration(at), Data: data})
			if part := m.EndPart(nil, time.Duration(c)); len(part) > 0 {
				runs(t, part)
				tree(t, part)
			}
		}
	})
}

func BenchmarkPart(b *testing.B) {
	m := &Muxer{Video: video, Audio: audio}
	var part []byte
	now := time.Duration(0)
	data := make([]byte, 4096)
	b.SetBytes(9 * 4096)
	b.ReportAllocs()
	for b.Loop() {
		for range 9 {
			m.Append(nil, media.Frame{Track: video, DTS: now, PTS: now, Data: data})
			now += 33 * ms
		}
		part = m.EndPart(part[:0], now)
	}
}

// Event message boxes stand before the fragment, byte by byte, and once.
func TestMetadata(t *testing.T) {
	m := &Muxer{Video: video}
	frame := media.Frame{Track: video, Data: []byte{0, 0, 0, 1, 0x65}, Key: true}
	dst := m.AppendMetadata(m.Append(nil, frame), 1500*time.Millisecond, 7, []byte("ID3"))
	if len(dst) != 0 {
		t.Errorf("%d bytes before the fragment", len(dst))
	}
	got := m.EndPart(dst, time.Second)
	want := "\x00\x00\x00\x41emsg\x01\x00\x00\x00\x00\x01\x5f\x90\x00\x00\x00\x00\x00\x02\x0f\x58\x00\x00\x00\x00\x00\x00\x00\x07" +
		"https://aomedia.org/emsg/ID3\x00\x00ID3"
	if !bytes.HasPrefix(got, []byte(want)) || string(got[len(want)+4:len(want)+8]) != "moof" {
		t.Errorf("%q, want %q first", got[:80], want)
	}
	if again := m.EndPart(m.Append(nil, frame), 2*time.Second); string(again[4:8]) != "moof" {
		t.Errorf("the next part begins with %q", again[4:8])
	}
}
