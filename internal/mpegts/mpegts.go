// Package mpegts packs frames into an MPEG transport stream (ISO 13818-1) for HLS: one
// programme with one video and one audio stream, appended to the caller's memory.
package mpegts

import (
	"encoding/binary"
	"time"

	"github.com/millrace/millrace/internal/media"
)

const packetSize = 188

// Packet identifiers.
const (
	pidPAT      = 0x0000
	pidPMT      = 0x1000
	pidVideo    = 0x0100
	pidAudio    = 0x0101
	pidMetadata = 0x0102
)

// typeMetadata is the stream_type of metadata in PES packets (ISO 13818-1, table
// 2-34).
const typeMetadata = 0x15

const (
	// pcrLead is how far the clock reference runs behind the DTS: the time that
	// a decoder has to receive a frame. The earlier of audio and video must not
	// fall behind it.
	pcrLead = 90_000 / 2

	// audioBundle is how much audio shares one PES packet. Each packet costs
	// 14 bytes and half a transport packet of stuffing.
	audioBundle = 9000 // 100 ms

	maxBundle = 60_000    // bytes of frames: PES_packet_length has 16 bits
	clockMask = 1<<33 - 1 // PTS, DTS and PCR base have 33 bits
	clockRate = 90_000    // ticks per second
)

// A Muxer appends frames as transport packets. Its continuity counters never restart, so
// one Muxer serves all segments between two discontinuities. The zero value with at least
// one track is ready to use.
type Muxer struct {
	// Video and Audio are nil if the track is absent. Each may be set until the first
	// EndPart and must not change afterwards.
	Video, Audio *media.Track

	counter  [5]byte // continuity counters of PAT, PMT, video, audio, metadata
	opened   bool    // this part has begun
	tables   int     // where in dst its PAT and PMT go
	hasSets  bool    // it has parameter sets: a segment need not begin with a key frame
	metadata bool    // there is some: the PMT has a stream for it, from this part on
	pes      []byte  // reused: the PES packet that is being cut into packets

	lag     int64 // ticks that the DTS is moved back by so that no PTS is before it
	lastDTS int64 // of the last frame of video, moved back; ticks
	hasDTS  bool

	bundle      []byte // audio frames that wait to share a PES packet
	bundlePTS   int64  // ticks, of the first of them
	bundleCount int64
	audioBase   int64 // ticks; audio is at audioBase plus audioCount frames
	audioCount  int64
}

// Append adds a frame to dst, which holds the part so far, and returns the longer slice.
// Video is written immediately; audio is held for more frames, or for EndPart. Frames of
// tracks that the Muxer does not have, and malformed audio, are dropped.
func (m *Muxer) Append(dst []byte, f media.Frame) []byte {
	dst = m.open(dst)
	switch f.Track {
	case nil:
		return dst
	case m.Video:
		return m.appendVideo(dst, f)
	case m.Audio:
		return m.appendAudio(dst, f)
	}
	return dst
}

// open makes room for the tables of a part, which EndPart fills in.
func (m *Muxer) open(dst []byte) []byte {
	if m.opened {
		return dst
	}
	m.opened, m.tables = true, len(dst)
	return append(dst, make([]byte, 2*packetSize)...)
}

// EndPart adds the pending audio and fills in the PAT and PMT at the beginning of the
// part, so that every part can be decoded alone. A part without frames stays empty. The
// end of the last video frame is not used in a transport stream.
func (m *Muxer) EndPart(dst []byte, _ time.Duration) []byte {
	if !m.opened {
		return dst
	}
	dst = m.flushAudio(dst)
	m.appendTables(dst[:m.tables])
	m.opened, m.hasSets = false, false
	return dst
}

// SetAudio sets Audio for an audio track that appears late.
func (m *Muxer) SetAudio(t *media.Track) { m.Audio = t }

// SetVideo changes Video between two parts, when another encoder takes over: its
// parameter sets are in each part.
func (m *Muxer) SetVideo(t *media.Track) { m.Video = t }

func (m *Muxer) appendVideo(dst []byte, f media.Frame) []byte {
	pts, dts := ticks(f.PTS), m.videoDTS(ticks(f.PTS), ticks(f.DTS))
	m.pes = appendPESHeader(m.pes[:0], 0xe0, pts, dts)
	m.pes = f.Track.AppendElementary(m.pes, f.Data, f.Key || !m.hasSets)
	m.hasSets = true
	return m.appendPES(dst, pidVideo, &m.counter[2], adaptation{hasPCR: true, pcr: dts - pcrLead, randomAccess: f.Key})
}

// videoDTS makes the DTS what ISO 13818-1 asks for: never after the PTS, and
// rising. Encoders that write negative composition offsets get their DTS moved
// back by the largest of them.
func (m *Muxer) videoDTS(pts, dts int64) int64 {
	m.lag = max(m.lag, dts-pts)
	dts -= m.lag
	if m.hasDTS && dts <= m.lastDTS {
		dts = min(m.lastDTS+1, pts)
	}
	m.lastDTS, m.hasDTS = dts, true
	return dts
}

func (m *Muxer) appendAudio(dst []byte, f media.Frame) []byte {
	if !f.Track.WellFormed(f.Data) {
		return dst
	}
	samples, rate := int64(f.Track.FrameSamples()), int64(max(f.Track.Audio.SampleRate, 1))
	frame := samples * clockRate / rate
	at := m.audioBase + m.audioCount*samples*clockRate/rate
	// The stream's clock has milliseconds. Audio is counted in samples, so
	// that it joins without seams, until the clock says that some are missing.
	if pts := ticks(f.PTS); m.audioCount == 0 || pts-at > frame || at-pts > frame {
		dst = m.flushAudio(dst)
		m.audioBase, m.audioCount, at = pts, 0, pts
	}
	if len(m.bundle)+len(f.Data) > maxBundle {
		dst = m.flushAudio(dst)
	}
	if m.bundleCount == 0 {
		m.bundlePTS = at
	}
	m.bundle = f.Track.AppendElementary(m.bundle, f.Data, true)
	m.bundleCount++
	m.audioCount++
	if m.bundleCount*frame >= audioBundle {
		dst = m.flushAudio(dst)
	}
	return dst
}

func (m *Muxer) flushAudio(dst []byte) []byte {
	if m.bundleCount == 0 {
		return dst
	}
	m.pes = appendPESHeader(m.pes[:0], 0xc0, m.bundlePTS, m.bundlePTS)
	m.pes = append(m.pes, m.bundle...)
	binary.BigEndian.PutUint16(m.pes[4:], uint16(len(m.pes)-6))
	m.bundle, m.bundleCount = m.bundle[:0], 0
	a := adaptation{randomAccess: true}
	if m.Video == nil {
		a.hasPCR, a.pcr = true, m.bundlePTS-pcrLead
	}
	return m.appendPES(dst, pidAudio, &m.counter[3], a)
}

// ticks is d on the 90 kHz clock.
func ticks(d time.Duration) int64 { return int64(d) * 9 / 100_000 }
