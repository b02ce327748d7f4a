package media

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
)

// h264 implements H.264 for the rest of the package. Everything specific to H.264 is in
// this file, in h264_sets.go and in x264.go.
var h264 = codec{
	name:       "H.264",
	fourCC:     "avc1",
	flvID:      7,
	configBox:  "avcC",
	brand:      "avc1", // ISO 14496-12, E.5
	streamType: 0x1b,
	newTrack:   newH264Track,
	video: &videoCodec{
		lengthSize:    h264LengthSize,
		kind:          h264Kind,
		key:           h264Key,
		newSets:       func() parameterSets { return &h264Sets{} },
		record:        h264Record,
		hasSets:       h264HasSets,
		delimiter:     []byte{H264NALAUD, 0xf0}, // primary_pic_type 7: any slices
		seiHeader:     []byte{H264NALSEI},
		recoveryPoint: []byte{H264NALSEI, 6, 1, 0x84, 0x80}, // recovery_frame_cnt 0 (D.1.8)
		keyInterval:   x264KeyInterval,
	},
}

// H.264 NAL unit types (ITU-T H.264, table 7-1).
const (
	H264NALSlice      = 1
	H264NALPartitionA = 2
	H264NALIDR        = 5
	H264NALSEI        = 6
	H264NALSPS        = 7
	H264NALPPS        = 8
	H264NALAUD        = 9
)

// h264LengthSize returns the size of the length in front of each NAL unit, as a valid
// AVCDecoderConfigurationRecord declares it.
func h264LengthSize(config []byte) int { return int(config[4]&3) + 1 }

// h264Kind returns the role of a NAL unit, which is not empty, in its access unit.
func h264Kind(nal []byte) (k nalKind) {
	if nal[0]&0x80 != 0 || nal[0]&0x1f == 0 || nal[0]&0x1f > 23 {
		k = nalOdd
	}
	switch nal[0] & 0x1f {
	case H264NALSlice, H264NALPartitionA, H264NALIDR:
		k |= nalSlice
		if len(nal) > 1 && nal[1]&0x80 != 0 { // first_mb_in_slice is 0: ue(0) is one set bit (ITU-T H.264, 7.4.1.2.4)
			k |= nalFirst
		}
	case H264NALSPS, H264NALPPS:
		k |= nalSet | nalPrefix
	case H264NALSEI:
		k |= nalSEI | nalPrefix
	case H264NALAUD:
		k |= nalDelimiter | nalPrefix
	case 14, 15, 16, 17, 18: // ITU-T H.264, 7.4.1.2.3
		k |= nalPrefix
	}
	return k
}

// h264Key reports whether an access unit is a key frame. If it is, it also returns the id
// of the picture parameter set of the first slice; otherwise, or if that is unclear, -1.
func h264Key(data []byte) (pps int, key bool) {
	for nal := range NALs(data) {
		if nal[0]&0x1f == H264NALIDR {
			return slicePPS(nal), true
		}
	}
	return -1, false
}

// h264Profile is a profile in words, as "High" (ITU-T H.264, annex A). Constrained
// Baseline is "Baseline", as IVS shows it.
func h264Profile(profile byte) string {
	switch profile {
	case 66:
		return "Baseline"
	case 77:
		return "Main"
	case 88:
		return "Extended"
	case 100:
		return "High"
	case 110:
		return "High 10"
	case 122:
		return "High 4:2:2"
	case 244:
		return "High 4:4:4 Predictive"
	}
	return fmt.Sprintf("Profile %d", profile)
}

// h264Level is the level as people write it, as "3.1".
func h264Level(profile, constraints, level byte) string {
	if level == 11 && constraints&0x10 != 0 && (profile == 66 || profile == 77 || profile == 88) {
		return "1b"
	}
	return fmt.Sprintf("%d.%d", level/10, level%10)
}

// newH264Track makes a track from an AVCDecoderConfigurationRecord
// (ISO 14496-15, 5.3.3.1), which it copies. Frames carry four-byte lengths whatever
// the record says, so that the track's says the same.
func newH264Track(config []byte) (*Track, error) {
	if len(config) > maxConfig {
		return nil, fmt.Errorf("AVCDecoderConfigurationRecord of %d bytes: at most %d are accepted", len(config), maxConfig)
	}
	config = bytes.Clone(config)
	if len(config) < 7 || config[0] != 1 {
		return nil, fmt.Errorf("AVCDecoderConfigurationRecord of %d bytes: too short or not version 1", len(config))
	}
	config[4] |= 3 // lengthSizeMinusOne
	sps, rest, err := h264RecordSets(config[5:], 0x1f, H264NALSPS)
	if err != nil {
		return nil, fmt.Errorf("AVCDecoderConfigurationRecord: sequence parameter sets: %w", err)
	}
	pps, _, err := h264RecordSets(rest, 0xff, H264NALPPS)
	if err != nil {
		return nil, fmt.Errorf("AVCDecoderConfigurationRecord: picture parameter sets: %w", err)
	}
	if len(sps) == 0 || len(pps) == 0 {
		return nil, fmt.Errorf("AVCDecoderConfigurationRecord: it holds %d sequence and %d picture parameter sets: one of each is needed", len(sps), len(pps))
	}
	c := &VideoConfig{Sets: slices.Concat(sps, pps), Sequence: sps[0]}
	if err := h264ParseSPS(c, sps[0]); err != nil {
		return nil, fmt.Errorf("sequence parameter set % x: %w", sps[0], err)
	}
	return &Track{Codec: H264, Config: config, Video: c}, nil
}

// h264RecordSets reads a count, masked, and that many NAL units, each preceded by its
// length in 16 bits. Units of another type than want are left out.
func h264RecordSets(b []byte, mask, want byte) (sets [][]byte, rest []byte, err error) {
	if len(b) == 0 {
		return nil, nil, errShort
	}
	n, b := int(b[0]&mask), b[1:]
	for range n {
		if len(b) < 2 {
			return nil, nil, errShort
		}
		size := int(binary.BigEndian.Uint16(b))
		if len(b) < 2+size {
			return nil, nil, errShort
		}
		if nal := b[2 : 2+size]; size > 1 && nal[0]&0x1f == want {
			sets = append(sets, nal)
		}
		b = b[2+size:]
	}
	return sets, b, nil
}

// h264ParseSPS reads profile, level, size and frame rate (ITU-T H.264, 7.3.2.1.1).
func h264ParseSPS(c *VideoConfig, nal []byte) error {
	if len(nal) < 4 {
		return errShort
	}
	profile, constraints, level := nal[1], nal[2], nal[3]
	c.RFC6381 = fmt.Sprintf("avc1.%02X%02X%02X", profile, constraints, level)
	c.Profile, c.Level = h264Profile(profile), h264Level(profile, constraints, level)
	r := &bitReader{b: unescape(nal[4:])}
	r.ue() // seq_parameter_set_id
	chroma, separatePlanes := uint32(1), false
	depth := uint32(8)
	switch profile {
	case 100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135:
		if chroma = r.ue(); chroma == 3 {
			separatePlanes = r.flag()
		}
		lumaDepth, chromaDepth := r.ue(), r.ue() // bit_depth_luma_minus8, bit_depth_chroma_minus8
		depth += max(lumaDepth, chromaDepth)
		r.flag() // qpprime_y_zero_transform_bypass_flag
		if r.flag() {
			skipScalingMatrix(r, chroma)
		}
	}
	r.ue() // log2_max_frame_num_minus4
	skipPicOrderCount(r)
	r.ue()   // max_num_ref_frames
	r.flag() // gaps_in_frame_num_value_allowed_flag
	width, height := 16*(uint64(r.ue())+1), 16*(uint64(r.ue())+1)
	frameOnly := r.flag()
	if !frameOnly {
		height *= 2
		r.flag() // mb_adaptive_frame_field_flag
	}
	r.flag() // direct_8x8_inference_flag
	if r.flag() {
		left, right, top, bottom := uint64(r.ue()), uint64(r.ue()), uint64(r.ue()), uint64(r.ue())
		unitX, unitY := cropUnits(chroma, separatePlanes, frameOnly)
		if (left+right)*unitX >= width || (top+bottom)*unitY >= height {
			return fmt.Errorf("crops an image of %dx%d to nothing", width, height)
		}
		width -= (left + right) * unitX
		height -= (top + bottom) * unitY
	}
	vui := r.flag()
	if r.err != nil {
		return r.err
	}
	if vui {
		c.FrameRate = frameRate(r)
	}
	if chroma > 3 || depth > 14 {
		return fmt.Errorf("chroma format %d of %d bits", chroma, depth)
	}
	c.ChromaFormat, c.BitDepth = uint8(chroma), uint8(depth)
	// 16,384 is twice what level 6.2 allows on one edge.
	if width > 16384 || height > 16384 {
		return fmt.Errorf("image of %dx%d: at most 16384 on an edge are accepted", width, height)
	}
	c.Width, c.Height = int(width), int(height)
	return nil
}

// cropUnits are the steps of the cropping rectangle (ITU-T H.264, 7.4.2.1.1,
// equations 7-19 to 7-22).
func cropUnits(chroma uint32, separatePlanes, frameOnly bool) (x, y uint64) {
	x, y = 1, 1
	if !separatePlanes && (chroma == 1 || chroma == 2) {
		x = 2
	}
	if !separatePlanes && chroma == 1 {
		y = 2
	}
	if !frameOnly {
		y *= 2
	}
	return x, y
}

func skipScalingMatrix(r *bitReader, chroma uint32) {
	lists := 8
	if chroma == 3 {
		lists = 12
	}
	for i := range lists {
		if !r.flag() {
			continue
		}
		size := 16
		if i >= 6 {
			size = 64
		}
		last, next := int32(8), int32(8)
		for j := 0; j < size && r.err == nil; j++ {
			if next != 0 {
				next = (last + r.se() + 256) & 0xff
			}
			if next != 0 {
				last = next
			}
		}
	}
}

func skipPicOrderCount(r *bitReader) {
	switch r.ue() { // pic_order_cnt_type
	case 0:
		r.ue()
	case 1:
		r.flag()
		r.se()
		r.se()
		n := r.ue()
		for i := uint32(0); i < n && i < 256 && r.err == nil; i++ {
			r.se()
		}
	}
}

// frameRate reads the VUI up to its timing (ITU-T H.264, E.1.1). A VUI that
// ends too early or says nonsense says nothing.
func frameRate(r *bitReader) float64 {
	if r.flag() { // aspect_ratio_info_present_flag
		if r.bits(8) == 255 {
			r.bits(32)
		}
	}
	if r.flag() { // overscan_info_present_flag
		r.flag()
	}
	if r.flag() { // video_signal_type_present_flag
		r.bits(4)
		if r.flag() {
			r.bits(24)
		}
	}
	if r.flag() { // chroma_loc_info_present_flag
		r.ue()
		r.ue()
	}
	if !r.flag() { // timing_info_present_flag
		return 0
	}
	units, scale := r.bits(32), r.bits(32)
	if r.err != nil || units == 0 {
		return 0
	}
	// A tick is a field: two make a frame (E.2.1).
	if rate := float64(scale) / float64(units) / 2; rate >= 1 && rate <= 300 {
		return rate
	}
	return 0
}

// h264AppendSets appends a count, with flags, and the sets of that type, each preceded by
// its length in 16 bits.
func h264AppendSets(b []byte, flags byte, sets [][]byte, want byte) []byte {
	count := len(b)
	b = append(b, flags)
	for _, nal := range sets {
		if nal[0]&0x1f == want {
			b[count]++
			b = append(binary.BigEndian.AppendUint16(b, uint16(len(nal))), nal...)
		}
	}
	return b
}

// h264HasSets reports whether an access unit brings parameter sets of both kinds.
func h264HasSets(data []byte) bool {
	var sps, pps bool
	for nal := range NALs(data) {
		sps = sps || nal[0]&0x1f == H264NALSPS
		pps = pps || nal[0]&0x1f == H264NALPPS
	}
	return sps && pps
}

// h264Record is the AVCDecoderConfigurationRecord of the sets that c has.
func h264Record(c *VideoConfig) []byte {
	sps := c.Sequence
	b := []byte{1, sps[1], sps[2], sps[3], 0xff}
	b = h264AppendSets(b, 0xe0, c.Sets, H264NALSPS)
	b = h264AppendSets(b, 0, c.Sets, H264NALPPS)
	switch profile := sps[1]; profile {
	case 66, 77, 88: // Baseline, Main, Extended: 8 bits and 4:2:0
	default:
		depth := 0xf8 | (c.BitDepth - 8)
		b = append(b, 0xfc|c.ChromaFormat, depth, depth, 0)
	}
	return b
}
