package mpegts

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/wiretest"
)

var (
	sps, pps = []byte{0x67, 0x42}, []byte{0x68, 0xce}
	video    = &media.Track{Codec: media.H264, Video: &media.VideoConfig{Sets: [][]byte{sps, pps}}}
	audio    = &media.Track{Codec: media.AAC, Audio: &media.AudioConfig{FrameSamples: 1024, SampleRate: 48000, Channels: 2}}
	idr      = []byte{0, 0, 0, 3, 0x65, 0x88, 0x84}
	slice    = []byte{0, 0, 0, 3, 0x41, 0x9a, 0x02}
)

// A pes is a PES packet that was put together again.
type pes struct {
	PID          int
	PTS, DTS     int64
	PCR          int64 // -1 without one
	RandomAccess bool
	Payload      []byte
}

// demux takes transport packets apart, and checks what holds for all of them.
func demux(t *testing.T, b []byte, counters map[int]byte) (all []pes) {
	t.Helper()
	if len(b)%packetSize != 0 {
		t.Fatalf("%d bytes are not whole packets", len(b))
	}
	open := map[int]int{} // PID -> index in all
	for ; len(b) > 0; b = b[packetSize:] {
		p := b[:packetSize]
		if p[0] != 0x47 {
			t.Fatalf("no sync byte in % x", p[:4])
		}
		pid, counter := int(p[1]&0x1f)<<8|int(p[2]), p[3]&0x0f
		if last, ok := counters[pid]; ok && counter != (last+1)&0x0f {
			t.Errorf("PID %#x: continuity counter %d after %d", pid, counter, last)
		}
		counters[pid] = counter
		payload, pcr, random := p[4:], int64(-1), false
		if p[3]&0x20 != 0 {
			n := int(payload[0])
			field := payload[1 : 1+n]
			payload = payload[1+n:]
			if n > 0 {
				random = field[0]&0x40 != 0
				if field[0]&0x10 != 0 {
					pcr = int64(field[1])<<25 | int64(field[2])<<17 | int64(field[3])<<9 | int64(field[4])<<1 | int64(field[5])>>7
				}
			}
		}
		if pid == pidPAT || pid == pidPMT {
			continue
		}
		if p[1]&0x40 != 0 {
			open[pid] = len(all)
			all = append(all, pes{PID: pid, PCR: pcr, RandomAccess: random})
		}
		i := open[pid]
		all[i].Payload = append(all[i].Payload, payload...)
	}
	for i := range all {
		parsePES(t, &all[i])
	}
	return all
}

func parsePES(t *testing.T, p *pes) {
	t.Helper()
	b := p.Payload
	if !bytes.HasPrefix(b, []byte{0, 0, 1}) {
		t.Fatalf("PID %#x: PES packet begins with % x", p.PID, b[:4])
	}
	if n := int(b[4])<<8 | int(b[5]); n != 0 && n != len(b)-6 {
		t.Errorf("PID %#x: PES_packet_length %d of %d bytes", p.PID, n, len(b)-6)
	}
	read := func(b []byte) int64 {
		if b[0]&b[2]&b[4]&1 != 1 {
			t.Errorf("marker bits in % x", b[:5])
		}
		return int64(b[0]>>1&7)<<30 | int64(b[1])<<22 | int64(b[2]>>1)<<15 | int64(b[3])<<7 | int64(b[4])>>1
	}
	p.PTS = read(b[9:])
	p.DTS = p.PTS
	if b[7]&0x40 != 0 {
		p.DTS = read(b[14:])
	}
	p.Payload = b[9+int(b[8]):]
}

func TestTables(t *testing.T) {
	tests := []struct {
		name         string
		video, audio *media.Track
		pmt          string
	}{
		{"both", video, audio, "00 02 b0 17 00 01 c1 00 00 e1 00 f0 00 1b e1 00 f0 00 0f e1 01 f0 00 2f 44 b9 9b"},
		{"video", video, nil, "00 02 b0 12 00 01 c1 00 00 e1 00 f0 00 1b e1 00 f0 00 15 bd 4d 56"},
		{"audio", nil, audio, "00 02 b0 12 00 01 c1 00 00 e1 01 f0 00 0f e1 01 f0 00 ec e2 b0 94"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := &Muxer{Video: tt.video, Audio: tt.audio}
			got := m.appendTables(nil)
			pat := wiretest.Hex("47 40 00 10 00 00 b0 0d 00 01 c1 00 00 00 01 f0 00 2a b1 04 b2")
			pmt := append(wiretest.Hex("47 50 00 10"), wiretest.Hex(tt.pmt)...)
			if !bytes.HasPrefix(got, pat) {
				t.Errorf("PAT = % x\nwant  % x", got[:len(pat)], pat)
			}
			if !bytes.HasPrefix(got[packetSize:], pmt) {
				t.Errorf("PMT = % x\nwant  % x", got[packetSize:packetSize+len(pmt)], pmt)
			}
			if len(got) != 2*packetSize || got[packetSize-1] != 0xff || got[2*packetSize-1] != 0xff {
				t.Errorf("%d bytes, or not filled with 0xff", len(got))
			}
		})
	}
}

func TestPESHeader(t *testing.T) {
	tests := []struct {
		pts, dts int64
		want     string
	}{
		{90000, 90000, "000001 e0 0000 84 80 05 21 00 05 bf 21"},
		{93000, 90000, "000001 e0 0000 84 c0 0a 31 00 05 d6 91 11 00 05 bf 21"},
		{1<<33 - 1, 1<<33 - 2, "000001 e0 0000 84 c0 0a 3f ff ff ff ff 1f ff ff ff fd"},
		{1<<33 + 1, 1 << 33, "000001 e0 0000 84 c0 0a 31 00 01 00 03 11 00 01 00 01"}, // wraps
	}
	for _, tt := range tests {
		if got, want := appendPESHeader(nil, 0xe0, tt.pts, tt.dts), wiretest.Hex(tt.want); !bytes.Equal(got, want) {
			t.Errorf("PTS %d, DTS %d: % x, want % x", tt.pts, tt.dts, got, want)
		}
	}
}

// Every length of payload comes out again, whatever stuffing it takes.
func TestPackets(t *testing.T) {
	header := appendPESHeader(nil, 0xe0, 1, 1)
	for _, a := range []adaptation{{}, {randomAccess: true}, {hasPCR: true, pcr: 1<<33 - 2, randomAccess: true}} {
		counters := map[int]byte{}
		m := &Muxer{}
		for n := range 600 {
			payload := bytes.Repeat([]byte{byte(n)}, n)
			m.pes = append(append(m.pes[:0], header...), payload...)
			got := demux(t, m.appendPES(nil, pidVideo, &m.counter[2], a), counters)
			if len(got) != 1 || !bytes.Equal(got[0].Payload, payload) || got[0].RandomAccess != a.randomAccess || a.hasPCR != (got[0].PCR == a.pcr) {
				t.Fatalf("%d bytes, %+v: got %+v", n, a, got)
			}
		}
	}
}

func TestAppend(t *testing.T) {
	m := &Muxer{Video: video, Audio: audio}
	at := func(ms int) time.Duration { return time.Duration(ms) * time.Millisecond }
	part := m.Append(nil, media.Frame{Track: video, DTS: at(1000), PTS: at(1080), Key: true, Data: idr})
	part = m.Append(part, media.Frame{Track: audio, DTS: at(1005), PTS: at(1005), Key: true, Data: []byte{1, 2, 3}})
	part = m.Append(part, media.Frame{Track: video, DTS: at(1040), PTS: at(1040), Data: slice})
	part = m.Append(part, media.Frame{Track: &media.Track{}, Data: slice}) // is not one of ours
	part = m.EndPart(part, at(1080))
	want := []pes{
		{PID: pidVideo, PTS: 97200, DTS: 90000, PCR: 45000, RandomAccess: true, Payload: wiretest.Hex("00000001 09f0 00000001 6742 00000001 68ce 00000001 658884")},
		{PID: pidVideo, PTS: 93600, DTS: 93600, PCR: 48600, Payload: wiretest.Hex("00000001 09f0 00000001 419a02")},
		{PID: pidAudio, PTS: 90450, DTS: 90450, PCR: -1, RandomAccess: true, Payload: wiretest.Hex("fff14c80015ffc 010203")},
	}
	counters := map[int]byte{}
	if diff := cmp.Diff(want, demux(t, part, counters)); diff != "" {
		t.Errorf("part (-want +got):\n%s", diff)
	}
	if !bytes.HasPrefix(part, []byte{0x47, 0x40, 0}) || !bytes.HasPrefix(part[packetSize:], []byte{0x47, 0x50, 0}) {
		t.Error("the part does not begin with PAT and PMT")
	}
	if next := m.EndPart(nil, 0); len(next) != 0 {
		t.Errorf("a part without frames has %d bytes", len(next))
	}
	// Counters continue in the next part.
	next := m.EndPart(m.Append(nil, media.Frame{Track: video, DTS: at(1080), PTS: at(1080), Data: slice}), 0)
	if got := demux(t, next, counters); len(got) != 1 {
		t.Errorf("next part: %+v", got)
	}
}

// An audio track that shows up in the first part is in its PMT.
func TestSetAudio(t *testing.T) {
	m := &Muxer{Video: video}
	part := m.Append(nil, media.Frame{Track: video, Key: true, Data: idr})
	m.SetAudio(audio)
	part = m.EndPart(m.Append(part, media.Frame{Track: audio, Data: []byte{1}}), 0)
	want := (&Muxer{Video: video, Audio: audio}).appendTables(nil)
	if !bytes.Equal(part[:2*packetSize], want) {
		t.Error("PMT without audio")
	}
}

// Times of audio that come in milliseconds leave without their rounding; where
// some is missing, the clock is believed.
func TestAudioTimes(t *testing.T) {
	m := &Muxer{Audio: audio}
	var out []byte
	for n := range 20 {
		at := time.Duration(n) * 1024 * time.Second / 48000
		if n >= 13 {
			at += 100 * time.Millisecond
		}
		out = m.Append(out, media.Frame{Track: audio, DTS: at, PTS: at.Truncate(time.Millisecond), Data: make([]byte, 10)})
	}
	out = m.EndPart(out, 0)
	var got []string
	for _, p := range demux(t, out, map[int]byte{}) {
		got = append(got, fmt.Sprint(p.PTS, " ", len(p.Payload)/17, " ", p.PCR == (p.PTS-pcrLead)&clockMask))
	}
	want := []string{"0 5 true", "9600 5 true", "19200 3 true", "33930 5 true", "43530 2 true"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("PTS, frames, PCR (-want +got):\n%s", diff)
	}
}

func TestAudioBounds(t *testing.T) {
	m := &Muxer{Audio: audio}
	out := m.Append(nil, media.Frame{Track: audio, Data: make([]byte, 8185)})
	if out = m.EndPart(out, 0); len(out) != 2*packetSize {
		t.Errorf("a frame too long for ADTS made %d bytes", len(out))
	}
	// Slow audio with big frames would not fit one PES packet.
	slow := &media.Track{Codec: media.AAC, Audio: &media.AudioConfig{FrameSamples: 1024, SampleRate: 96000, Channels: 2}}
	m = &Muxer{Audio: slow}
	out = nil
	for n := range 9 {
		out = m.Append(out, media.Frame{Track: slow, PTS: time.Duration(n) * 1024 * time.Second / 96000, Data: make([]byte, 8184)})
	}
	if got := demux(t, m.EndPart(out, 0), map[int]byte{}); len(got) != 2 {
		t.Errorf("%d PES packets, want 2", len(got))
	}
}

// Encoders with negative composition offsets, and clocks that stand still or go
// back, still give rising DTS that are not after their PTS.
func TestVideoDTS(t *testing.T) {
	tests := []struct {
		name string
		in   [][2]int64 // DTS, PTS
	}{
		{"negative offsets", [][2]int64{{0, 0}, {40, 120}, {80, 40}, {120, 80}, {160, 240}, {200, 160}}},
		{"standing", [][2]int64{{100, 200}, {100, 240}, {100, 280}}},
		{"back", [][2]int64{{100, 200}, {60, 240}, {140, 280}}},
	}
	for _, tt := range tests {
		m := &Muxer{}
		last := int64(-1 << 62)
		for _, f := range tt.in {
			lag := m.lag
			dts := m.videoDTS(f[1]*90, f[0]*90)
			learned := m.lag > lag // there is no room before the PTS of this one
			if dts > f[1]*90 || dts <= last && !learned {
				t.Errorf("%s: DTS %d ms, PTS %d ms: DTS %d after %d", tt.name, f[0], f[1], dts, last)
			}
			last = dts
		}
	}
}

func TestNoAllocations(t *testing.T) {
	m := &Muxer{Video: video, Audio: audio}
	var part []byte
	big := append([]byte{0, 0, 0x10, 0}, make([]byte, 0x1000)...)
	now := time.Duration(0)
	write := func() {
		part = m.Append(part[:0], media.Frame{Track: video, DTS: now, PTS: now, Key: true, Data: big})
		part = m.Append(part, media.Frame{Track: audio, DTS: now, PTS: now, Data: big[:300]})
		part = m.EndPart(part, now)
		now += 20 * time.Millisecond
	}
	write()
	if n := testing.AllocsPerRun(100, write); n != 0 {
		t.Errorf("%g allocations", n)
	}
}

func FuzzAppend(f *testing.F) {
	f.Add(idr, []byte{1, 2}, int64(0), int64(0), true)
	f.Add(slice, []byte{}, int64(1<<62), int64(-1<<62), false)
	f.Fuzz(func(t *testing.T, frame, aac []byte, dts, pts int64, key bool) {
		m := &Muxer{Video: video, Audio: audio}
		var out []byte
		for range 2 {
			out = m.Append(out, media.Frame{Track: video, DTS: time.Duration(dts), PTS: time.Duration(pts), Key: key, Data: frame})
			out = m.Append(out, media.Frame{Track: audio, DTS: time.Duration(dts), PTS: time.Duration(dts), Data: aac})
			out = m.EndPart(out, 0)
		}
		demux(t, out, map[int]byte{})
	})
}

func BenchmarkAppend(b *testing.B) {
	m := &Muxer{Video: video}
	data := append([]byte{0, 0, 0x10, 0}, make([]byte, 0x1000)...)
	var part []byte
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	now := time.Duration(0)
	for b.Loop() {
		part = m.EndPart(m.Append(part[:0], media.Frame{Track: video, DTS: now, PTS: now, Data: data}), now)
		now += time.Second / 30
	}
}

// From the first tag on, the programme map has a stream for it, and says so by
// its version.
func TestMetadata(t *testing.T) {
	m := &Muxer{Video: video}
	counters := map[int]byte{}
	key := media.Frame{Track: video, Data: idr, Key: true}
	before := m.EndPart(m.Append(nil, key), 0)
	demux(t, before, counters)
	id3 := bytes.Repeat([]byte("ID3"), 200)
	with := m.AppendMetadata(m.Append(nil, key), time.Second, 0, id3)
	with = m.AppendMetadata(with, 2*time.Second, 1, id3[:1])
	with = m.EndPart(with, 0)
	var got []pes
	for _, p := range demux(t, with, counters) {
		if p.PID == pidMetadata {
			got = append(got, p)
		}
	}
	want := []pes{{PID: pidMetadata, PTS: 90_000, DTS: 90_000, PCR: -1, Payload: id3}, {PID: pidMetadata, PTS: 180_000, DTS: 180_000, PCR: -1, Payload: id3[:1]}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	section := wiretest.Hex("02 b0 37 00 01 c3 00 00 e1 00 f0 11 25 0f ff ff 49 44 33 20 ff 49 44 33 20 00 1f 00 01" +
		"1b e1 00 f0 00 15 e1 02 f0 0f 26 0d ff ff 49 44 33 20 ff 49 44 33 20 00 0f")
	after := m.EndPart(m.Append(nil, key), 0)
	for name, part := range map[string][]byte{"with": with, "after": after} {
		if pmt := part[packetSize+5:]; !bytes.HasPrefix(pmt, section) || media.CRC32(pmt[:3+0x37]) != 0 {
			t.Errorf("PMT of the part %s metadata: % x", name, pmt[:70])
		}
	}
}
