package media

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
)

// H.264 NAL unit types (ITU-T H.264, table 7-1).
const (
	NALSlice      = 1
	NALPartitionA = 2
	NALIDR        = 5
	NALSEI        = 6
	NALSPS        = 7
	NALPPS        = 8
	NALAUD        = 9
)

// captionData begins user data with CEA-608 or 708 captions in an SEI message:
// the country and provider of ATSC, its identifier and the type of cc_data
// (ITU-T T.35; ATSC A/53 part 4, 6.2.3).
var captionData = []byte{0xb5, 0x00, 0x31, 'G', 'A', '9', '4', 3}

// VideoConfig is what an AVCDecoderConfigurationRecord and its first sequence
// parameter set say.
type VideoConfig struct {
	SPS, PPS [][]byte // whole NAL units, without start code or length

	Profile     uint8 // profile_idc
	Constraints uint8 // constraint_set flags, as the byte in the SPS
	Level       uint8 // level_idc: ten times the level

	ChromaFormat uint8 // chroma_format_idc: 1 is 4:2:0, which all decoders know
	BitDepth     uint8 // the larger of luma and chroma

	Width, Height int     // of the image to show, in pixels as coded
	FrameRate     float64 // frames per second by the VUI; 0 when it does not say
}

// RFC6381 is the entry in a playlist's CODECS attribute, as "avc1.64001F".
func (c *VideoConfig) RFC6381() string {
	return fmt.Sprintf("avc1.%02X%02X%02X", c.Profile, c.Constraints, c.Level)
}

// ProfileName is the profile in words, as "High" (ITU-T H.264, annex A).
// Constrained Baseline is "Baseline", as IVS shows it.
func (c *VideoConfig) ProfileName() string {
	switch {
	case c.Profile == 66:
		return "Baseline"
	case c.Profile == 77:
		return "Main"
	case c.Profile == 88:
		return "Extended"
	case c.Profile == 100:
		return "High"
	case c.Profile == 110:
		return "High 10"
	case c.Profile == 122:
		return "High 4:2:2"
	case c.Profile == 244:
		return "High 4:4:4 Predictive"
	}
	return fmt.Sprintf("Profile %d", c.Profile)
}

// Limits says in words why few players decode such video; "" where all do. It is
// beyond 4:2:0 in 8 bits.
func (c *VideoConfig) Limits() string {
	chroma := [...]string{"4:0:0", "4:2:0", "4:2:2", "4:4:4"}[c.ChromaFormat&3]
	if c.BitDepth <= 8 && c.ChromaFormat <= 1 {
		return ""
	}
	return fmt.Sprintf("Few players decode video of %s in %d bits: send 4:2:0 in 8 bits.", chroma, max(8, c.BitDepth))
}

// LevelName is the level as people write it, as "3.1".
func (c *VideoConfig) LevelName() string {
	if c.Level == 11 && c.Constraints&0x10 != 0 && (c.Profile == 66 || c.Profile == 77 || c.Profile == 88) {
		return "1b"
	}
	return fmt.Sprintf("%d.%d", c.Level/10, c.Level%10)
}

// NewH264Track makes a track from an AVCDecoderConfigurationRecord
// (ISO 14496-15, 5.3.3.1), which it copies. Frames carry four-byte lengths whatever
// the record says, so that the track's says the same.
func NewH264Track(config []byte) (*Track, error) {
	if len(config) > maxConfig {
		return nil, fmt.Errorf("AVCDecoderConfigurationRecord of %d bytes: at most %d are accepted", len(config), maxConfig)
	}
	config = bytes.Clone(config)
	if len(config) < 7 || config[0] != 1 {
		return nil, fmt.Errorf("AVCDecoderConfigurationRecord of %d bytes: too short or not version 1", len(config))
	}
	config[4] |= 3 // lengthSizeMinusOne
	c := &VideoConfig{}
	rest := config[5:]
	var err error
	if c.SPS, rest, err = parameterSets(rest, 0x1f, NALSPS); err != nil {
		return nil, fmt.Errorf("AVCDecoderConfigurationRecord: sequence parameter sets: %w", err)
	}
	if c.PPS, _, err = parameterSets(rest, 0xff, NALPPS); err != nil {
		return nil, fmt.Errorf("AVCDecoderConfigurationRecord: picture parameter sets: %w", err)
	}
	if len(c.SPS) == 0 || len(c.PPS) == 0 {
		return nil, fmt.Errorf("AVCDecoderConfigurationRecord: it holds %d sequence and %d picture parameter sets: one of each is needed", len(c.SPS), len(c.PPS))
	}
	if err := c.parseSPS(c.SPS[0]); err != nil {
		return nil, fmt.Errorf("sequence parameter set % x: %w", c.SPS[0], err)
	}
	return &Track{Codec: H264, Config: config, Video: c}, nil
}

// parameterSets reads a count, masked, and that many NAL units behind 16-bit
// lengths. Units of another type than want are left out.
func parameterSets(b []byte, mask, want byte) (sets [][]byte, rest []byte, err error) {
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

// parseSPS reads profile, level, size and frame rate (ITU-T H.264, 7.3.2.1.1).
func (c *VideoConfig) parseSPS(nal []byte) error {
	if len(nal) < 4 {
		return errShort
	}
	c.Profile, c.Constraints, c.Level = nal[1], nal[2], nal[3]
	r := &bitReader{b: unescape(nal[4:])}
	r.ue() // seq_parameter_set_id
	chroma, separatePlanes := uint32(1), false
	depth := uint32(8)
	switch c.Profile {
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

// unescape takes the emulation prevention bytes out of a NAL unit
// (ITU-T H.264, 7.4.1).
func unescape(nal []byte) []byte {
	out := make([]byte, 0, len(nal))
	zeros := 0
	for _, b := range nal {
		if zeros >= 2 && b == 3 {
			zeros = 0
			continue
		}
		if out = append(out, b); b == 0 {
			zeros++
		} else {
			zeros = 0
		}
	}
	return out
}

// NALs yields the NAL units of a frame's Data. It stops at the first length
// that does not fit, so that damaged frames are cut short and never misread.
func NALs(data []byte) func(yield func(nal []byte) bool) {
	return func(yield func([]byte) bool) {
		for len(data) > 4 {
			size := uint64(binary.BigEndian.Uint32(data))
			if size > uint64(len(data)-4) {
				return
			}
			if size > 0 && !yield(data[4:4+size:4+size]) {
				return
			}
			data = data[4+size:]
		}
	}
}

// hasCaptions reports whether an access unit carries captions. They stand before
// its slices.
func hasCaptions(data []byte) bool {
	for nal := range NALs(data) {
		switch kind := nal[0] & 0x1f; {
		case kind == NALSEI && bytes.Contains(nal, captionData):
			return true
		case kind >= NALSlice && kind <= NALIDR:
			return false
		}
	}
	return false
}

// wellFormed reports whether data is nothing but NAL units behind four-byte
// lengths, which a decoder takes it to be.
func wellFormed(data []byte) bool {
	for len(data) >= 4 {
		n := binary.BigEndian.Uint32(data)
		if uint64(n) > uint64(len(data)-4) {
			return false
		}
		data = data[4+n:]
	}
	return len(data) == 0
}

// appendAnnexB appends an access unit as a byte stream (ITU-T H.264, annex B): a
// delimiter first, then, if asked for, the parameter sets, unless the access unit
// brings its own.
func (c *VideoConfig) appendAnnexB(dst, data []byte, sets bool) []byte {
	dst = append(dst, 0, 0, 0, 1, NALAUD, 0xf0) // primary_pic_type 7: any slices
	if sets && !hasSets(data) {
		for _, nal := range c.SPS {
			dst = appendStartCode(dst, nal)
		}
		for _, nal := range c.PPS {
			dst = appendStartCode(dst, nal)
		}
	}
	for nal := range NALs(data) {
		if nal[0]&0x1f != NALAUD {
			dst = appendStartCode(dst, nal)
		}
	}
	return dst
}

func appendStartCode(dst, nal []byte) []byte {
	return append(append(dst, 0, 0, 0, 1), nal...)
}

// hasSets reports whether an access unit brings parameter sets of both kinds.
func hasSets(data []byte) bool {
	var sps, pps bool
	for nal := range NALs(data) {
		sps = sps || nal[0]&0x1f == NALSPS
		pps = pps || nal[0]&0x1f == NALPPS
	}
	return sps && pps
}

// decodes reports whether a decoder that has the parameter sets of c needs none
// of o. The first sequence parameter set is the one that frames refer to.
func (c *VideoConfig) decodes(o *VideoConfig) bool {
	return len(c.SPS) > 0 && len(o.SPS) > 0 && bytes.Equal(c.SPS[0], o.SPS[0]) && containsAll(c.SPS, o.SPS) && containsAll(c.PPS, o.PPS)
}

// track is one that is made of the sets that c has.
func (c *VideoConfig) track() *Track { return &Track{Codec: H264, Config: c.record(), Video: c} }

// record is the AVCDecoderConfigurationRecord of the sets that c has.
func (c *VideoConfig) record() []byte {
	b := []byte{1, c.Profile, c.Constraints, c.Level, 0xff, 0xe0 | byte(len(c.SPS))}
	for _, nal := range c.SPS {
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(nal))), nal...)
	}
	b = append(b, byte(len(c.PPS)))
	for _, nal := range c.PPS {
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(nal))), nal...)
	}
	switch c.Profile {
	case 66, 77, 88: // Baseline, Main, Extended: 8 bits and 4:2:0
	default:
		depth := 0xf8 | (c.BitDepth - 8)
		b = append(b, 0xfc|c.ChromaFormat, depth, depth, 0)
	}
	return b
}

func containsAll(have, want [][]byte) bool {
	for _, w := range want {
		if !slices.ContainsFunc(have, func(h []byte) bool { return bytes.Equal(h, w) }) {
			return false
		}
	}
	return true
}
