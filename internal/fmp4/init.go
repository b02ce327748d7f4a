// Package fmp4 packs frames into fragmented MP4 (ISO 14496-12) for HLS: an init segment,
// and fragments of one moof and one mdat box that hold the frames since the last one.
package fmp4

import (
	"encoding/binary"

	"github.com/millrace/millrace/internal/media"
)

// Track numbers in every init segment and fragment.
const (
	videoID = 1
	audioID = 2
)

// videoTimescale is the ticks per second of video. Audio counts samples.
const videoTimescale = 90_000

// Init appends the init segment for a video and an audio track, either of
// which may be nil.
func Init(dst []byte, video, audio *media.Track) []byte {
	dst, ftyp := begin(dst, "ftyp")
	dst = append(dst, "iso6\x00\x00\x00\x01iso6cmfc"...)
	for _, t := range [...]*media.Track{video, audio} {
		if t != nil {
			dst = append(dst, t.Codec.Brand()...)
		}
	}
	dst = append(dst, "mp41"...)
	dst = end(dst, ftyp)

	dst, moov := begin(dst, "moov")
	dst = appendMvhd(dst)
	if video != nil {
		dst = appendTrak(dst, video)
	}
	if audio != nil {
		dst = appendTrak(dst, audio)
	}
	dst, mvex := begin(dst, "mvex")
	if video != nil {
		dst = appendTrex(dst, videoID)
	}
	if audio != nil {
		dst = appendTrex(dst, audioID)
	}
	dst = end(dst, mvex)
	return end(dst, moov)
}

// begin opens a box and end closes it by writing its size.
func begin(dst []byte, typ string) (_ []byte, start int) {
	start = len(dst)
	return append(append(dst, 0, 0, 0, 0), typ...), start
}

func beginFull(dst []byte, typ string, version byte, flags uint32) (_ []byte, start int) {
	dst, start = begin(dst, typ)
	return u32(dst, uint32(version)<<24|flags), start
}

func end(dst []byte, start int) []byte {
	binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start))
	return dst
}

func u16(dst []byte, v ...uint16) []byte {
	for _, x := range v {
		dst = binary.BigEndian.AppendUint16(dst, x)
	}
	return dst
}

func u32(dst []byte, v ...uint32) []byte {
	for _, x := range v {
		dst = binary.BigEndian.AppendUint32(dst, x)
	}
	return dst
}

// matrix is the identity (ISO 14496-12, 6.2.2).
func matrix(dst []byte) []byte {
	return u32(dst, 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
}

func appendMvhd(dst []byte) []byte {
	dst, box := beginFull(dst, "mvhd", 0, 0)
	dst = u32(dst, 0, 0, 1000, 0) // created, modified, timescale, duration: not known
	dst = u32(dst, 0x10000)       // rate 1.0
	dst = u16(dst, 0x100, 0)      // volume 1.0
	dst = u32(dst, 0, 0)
	dst = matrix(dst)
	dst = u32(dst, 0, 0, 0, 0, 0, 0)
	dst = u32(dst, audioID+1) // next_track_ID
	return end(dst, box)
}

func appendTrak(dst []byte, t *media.Track) []byte {
	id, timescale, handler, name := uint32(videoID), uint32(videoTimescale), "vide", "video"
	var volume uint16
	var width, height uint32
	if t.IsVideo() {
		width, height = uint32(t.Video.Width), uint32(t.Video.Height)
	} else {
		id, timescale, handler, name = audioID, uint32(t.Audio.SampleRate), "soun", "audio"
		volume = 0x100
	}
	dst, trak := begin(dst, "trak")

	dst, tkhd := beginFull(dst, "tkhd", 0, 3) // enabled, in movie
	dst = u32(dst, 0, 0, id, 0, 0, 0, 0)
	dst = u16(dst, 0, 0, volume, 0) // layer, alternate group, volume
	dst = matrix(dst)
	dst = u32(dst, width<<16, height<<16)
	dst = end(dst, tkhd)

	dst, mdia := begin(dst, "mdia")
	dst, mdhd := beginFull(dst, "mdhd", 0, 0)
	dst = u32(dst, 0, 0, timescale, 0)
	dst = u16(dst, 0x55c4, 0) // language: undetermined
	dst = end(dst, mdhd)

	dst, hdlr := beginFull(dst, "hdlr", 0, 0)
	dst = u32(dst, 0)
	dst = append(dst, handler...)
	dst = u32(dst, 0, 0, 0)
	dst = append(append(dst, name...), 0)
	dst = end(dst, hdlr)

	dst = appendMinf(dst, t)
	dst = end(dst, mdia)
	return end(dst, trak)
}

func appendMinf(dst []byte, t *media.Track) []byte {
	dst, minf := begin(dst, "minf")
	if t.IsVideo() {
		var vmhd int
		dst, vmhd = beginFull(dst, "vmhd", 0, 1)
		dst = u32(dst, 0, 0)
		dst = end(dst, vmhd)
	} else {
		var smhd int
		dst, smhd = beginFull(dst, "smhd", 0, 0)
		dst = u32(dst, 0)
		dst = end(dst, smhd)
	}

	dst, dinf := begin(dst, "dinf")
	dst, dref := beginFull(dst, "dref", 0, 0)
	dst = u32(dst, 1)
	dst, url := beginFull(dst, "url ", 0, 1) // the media is in this file
	dst = end(dst, url)
	dst = end(dst, dref)
	dst = end(dst, dinf)

	dst, stbl := begin(dst, "stbl")
	dst, stsd := beginFull(dst, "stsd", 0, 0)
	dst = u32(dst, 1)
	if t.IsVideo() {
		dst = appendVideoEntry(dst, t)
	} else {
		dst = appendAudioEntry(dst, t)
	}
	dst = end(dst, stsd)
	// Samples are in fragments: these tables are empty, and required.
	for _, typ := range [...]string{"stts", "stsc", "stco"} {
		var box int
		dst, box = beginFull(dst, typ, 0, 0)
		dst = u32(dst, 0)
		dst = end(dst, box)
	}
	dst, stsz := beginFull(dst, "stsz", 0, 0)
	dst = u32(dst, 0, 0)
	dst = end(dst, stsz)
	dst = end(dst, stbl)
	return end(dst, minf)
}

// appendVideoEntry writes the sample entry (ISO 14496-12, 12.1.3).
func appendVideoEntry(dst []byte, t *media.Track) []byte {
	dst, entry := begin(dst, t.Codec.FourCC())
	dst = u16(dst, 0, 0, 0, 1) // reserved; data reference 1
	dst = u32(dst, 0, 0, 0, 0)
	dst = u16(dst, uint16(t.Video.Width), uint16(t.Video.Height))
	dst = u32(dst, 0x480000, 0x480000, 0) // 72 dpi
	dst = u16(dst, 1)                     // one frame a sample
	dst = append(dst, make([]byte, 32)...)
	dst = u16(dst, 24, 0xffff) // depth; pre-defined

	dst = appendConfig(dst, t, videoID)
	return end(dst, entry)
}

func appendConfig(dst []byte, t *media.Track, id uint16) []byte {
	dst, config := begin(dst, t.Codec.ConfigBox())
	dst = t.AppendConfigBox(dst, id)
	return end(dst, config)
}

// appendAudioEntry writes the sample entry (ISO 14496-12, 12.2.3).
func appendAudioEntry(dst []byte, t *media.Track) []byte {
	rate := t.Audio.SampleRate
	if rate >= 1<<16 {
		rate = 0 // does not fit into 16.16 bits: the configuration has it
	}
	dst, entry := begin(dst, t.Codec.FourCC())
	dst = u16(dst, 0, 0, 0, 1)
	dst = u32(dst, 0, 0)
	dst = u16(dst, uint16(t.Audio.Channels), 16, 0, 0)
	dst = u32(dst, uint32(rate)<<16)
	dst = appendConfig(dst, t, audioID)
	return end(dst, entry)
}

func appendTrex(dst []byte, id uint32) []byte {
	dst, trex := beginFull(dst, "trex", 0, 0)
	dst = u32(dst, id, 1, 0, 0, 0) // sample description 1; no other defaults
	return end(dst, trex)
}
