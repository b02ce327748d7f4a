package media

import "bytes"

// captionData begins user data with CEA-608 or 708 captions in an SEI: the
// country and provider of ATSC, its identifier and the type of cc_data
// (ITU-T T.35; ATSC A/53 part 4, 6.2.3).
var captionData = []byte{0xb5, 0x00, 0x31, 'G', 'A', '9', '4', 3}

// HasCaptions tells whether a frame of H.264 carries captions. They stand
// before its picture.
func HasCaptions(data []byte) bool {
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
