package fmp4

import (
	"encoding/binary"
	"time"

	"github.com/millrace/millrace/internal/media"
)

// Sample flags (ISO 14496-12, 8.8.3.1).
const (
	syncSample    = 0x02000000 // depends on no other
	nonSyncSample = 0x01010000 // depends on others; is not a sync sample
)

// maxBridge is the longest hole between two fragments that is closed by showing
// the frame after it longer. Decoders wait for a key frame where time jumps.
const maxBridge = videoTimescale / 2

type sample struct {
	size     uint32
	duration uint32 // ticks of the track
	key      bool
	offset   int32 // PTS minus DTS, ticks
}

// A Muxer collects frames and writes them as fragments. Its times continue from one
// fragment to the next, so one Muxer serves all segments of an init segment. The zero
// value with at least one track is ready to use.
type Muxer struct {
	// Video and Audio are nil if the track is absent. Each may be set until the first
	// EndPart and must not change afterwards.
	Video, Audio *media.Track

	sequence uint32
	events   []byte // emsg boxes that go before the fragment; reused

	video      []sample // all of this memory is reused
	videoData  []byte
	videoStart int64 // ticks: decode time of the fragment's first sample
	videoLast  int64 // ticks: decode time of its last sample
	videoEnd   int64 // ticks: where the previous fragment ended
	hasVideo   bool  // videoEnd is meant

	audio      []sample
	audioData  []byte
	audioStart int64 // samples: decode time of the fragment's first frame
	audioNext  int64 // samples: where the next frame is expected
	hasAudio   bool  // audioNext is meant
}

// SetAudio sets Audio for an audio track that appears late.
func (m *Muxer) SetAudio(t *media.Track) { m.Audio = t }

// SetVideo changes Video between two fragments, when another encoder takes over. The
// following fragments need another Init.
func (m *Muxer) SetVideo(t *media.Track) { m.Video = t }

// Append collects a frame and returns dst unchanged. It drops frames of tracks that the
// Muxer does not have.
func (m *Muxer) Append(dst []byte, f media.Frame) []byte {
	switch f.Track {
	case nil:
	case m.Video:
		m.appendVideo(f)
	case m.Audio:
		m.appendAudio(f)
	}
	return dst
}

// appendVideo also decides how long the frame before it lasts. The first frame
// of a fragment starts where the one before it ended, so that decode times
// never overlap and leave no hole when the prediction was a little off.
func (m *Muxer) appendVideo(f media.Frame) {
	dts, pts := ticks(f.DTS, videoTimescale), ticks(f.PTS, videoTimescale)
	if n := len(m.video); n > 0 {
		dts = max(dts, m.videoLast+1)
		m.video[n-1].duration = uint32(dts - m.videoLast)
	} else {
		if m.hasVideo && dts-m.videoEnd < maxBridge {
			dts = m.videoEnd
		}
		dts = max(dts, 0)
		m.videoStart = dts
	}
	m.videoLast = dts
	m.video = append(m.video, sample{size: uint32(len(f.Data)), key: f.Key, offset: int32(pts - dts)})
	m.videoData = append(m.videoData, f.Data...)
}

// appendAudio counts samples. The stream's clock has milliseconds, so that
// it only decides when it disagrees by more than a frame: missing audio makes
// the frame before it longer, surplus audio is left out.
func (m *Muxer) appendAudio(f media.Frame) {
	now := max(ticks(f.PTS, int64(f.Track.Audio.SampleRate)), 0)
	late, samples := now-m.audioNext, int64(f.Track.FrameSamples())
	switch {
	case !m.hasAudio, late > samples && len(m.audio) == 0:
		m.audioNext = now
	case late > samples:
		m.audio[len(m.audio)-1].duration += uint32(late)
		m.audioNext = now
	case late < -2*samples:
		return
	}
	if len(m.audio) == 0 {
		m.audioStart = m.audioNext
	}
	m.hasAudio = true
	m.audioNext += samples
	m.audio = append(m.audio, sample{size: uint32(len(f.Data)), duration: uint32(samples), key: true})
	m.audioData = append(m.audioData, f.Data...)
}

// EndPart appends the fragment of the collected frames, or nothing without any. The last
// video frame lasts until videoEnd.
func (m *Muxer) EndPart(dst []byte, videoEnd time.Duration) []byte {
	if n := len(m.video); n > 0 {
		m.videoEnd = max(ticks(videoEnd, videoTimescale), m.videoLast+1)
		m.hasVideo = true
		m.video[n-1].duration = uint32(m.videoEnd - m.videoLast)
	}
	if len(m.video)+len(m.audio) == 0 {
		return dst
	}
	dst = append(dst, m.events...)
	m.events = m.events[:0]
	m.sequence++
	dst, moof := begin(dst, "moof")
	dst, mfhd := beginFull(dst, "mfhd", 0, 0)
	dst = end(u32(dst, m.sequence), mfhd)
	var videoOffset, audioOffset int // where the data offsets have to be written
	if len(m.video) > 0 {
		dst, videoOffset = appendVideoTraf(dst, m.videoStart, m.video)
	}
	if len(m.audio) > 0 {
		dst, audioOffset = appendAudioTraf(dst, m.audioStart, m.audio)
	}
	dst = end(dst, moof)
	data := len(dst) - moof + 8 // after the mdat header
	if videoOffset > 0 {
		binary.BigEndian.PutUint32(dst[videoOffset:], uint32(data))
	}
	if audioOffset > 0 {
		binary.BigEndian.PutUint32(dst[audioOffset:], uint32(data+len(m.videoData)))
	}
	dst, mdat := begin(dst, "mdat")
	dst = append(append(dst, m.videoData...), m.audioData...)
	dst = end(dst, mdat)
	m.video, m.videoData, m.audio, m.audioData = m.video[:0], m.videoData[:0], m.audio[:0], m.audioData[:0]
	return dst
}

// beginTraf writes tfhd and tfdt. Offsets count from the moof's first byte.
func beginTraf(dst []byte, id uint32, start int64) (_ []byte, traf int) {
	dst, traf = begin(dst, "traf")
	const baseIsMoof = 0x020000
	dst, tfhd := beginFull(dst, "tfhd", 0, baseIsMoof)
	dst = end(u32(dst, id), tfhd)
	dst, tfdt := beginFull(dst, "tfdt", 1, 0)
	dst = end(binary.BigEndian.AppendUint64(dst, uint64(start)), tfdt)
	return dst, traf
}

func appendVideoTraf(dst []byte, start int64, samples []sample) (_ []byte, offset int) {
	dst, traf := beginTraf(dst, videoID, start)
	const fields = 0x1 | 0x100 | 0x200 | 0x400 | 0x800 // data offset; duration, size, flags, composition offset
	dst, trun := beginFull(dst, "trun", 1, fields)     // version 1: signed composition offsets
	dst = u32(dst, uint32(len(samples)))
	offset = len(dst)
	dst = u32(dst, 0)
	for _, s := range samples {
		flags := uint32(nonSyncSample)
		if s.key {
			flags = syncSample
		}
		dst = u32(dst, s.duration, s.size, flags, uint32(s.offset))
	}
	return end(end(dst, trun), traf), offset
}

func appendAudioTraf(dst []byte, start int64, samples []sample) (_ []byte, offset int) {
	dst, traf := beginTraf(dst, audioID, start)
	const fields = 0x1 | 0x100 | 0x200 // data offset; duration, size
	dst, trun := beginFull(dst, "trun", 0, fields)
	dst = u32(dst, uint32(len(samples)))
	offset = len(dst)
	dst = u32(dst, 0)
	for _, s := range samples {
		dst = u32(dst, s.duration, s.size)
	}
	return end(end(dst, trun), traf), offset
}

// ticks is d in a timescale, to the nearest tick.
func ticks(d time.Duration, timescale int64) int64 {
	sec, rest := int64(d/time.Second), int64(d%time.Second)
	return sec*timescale + (rest*timescale+int64(time.Second)/2)/int64(time.Second)
}
