package media

import (
	"bytes"
	"encoding/binary"
	"strconv"
	"time"
)

// stampID marks our SEI among those of other makers (ITU-T H.264, D.1.7,
// uuid_iso_iec_11578).
var stampID = []byte{0x8d, 0x5f, 0x1c, 0x32, 0x6a, 0x91, 0x4e, 0x77, 0xb2, 0xc4, 0x5e, 0xe9, 0x17, 0xd3, 0x84, 0xaf}

// stampDigits holds the nanoseconds since 1970, so that no byte of them can
// look like a start code.
const stampDigits = 19

// stampSize is the number of bytes after the header of the NAL unit: payload type and
// size, id, digits, trailing bits.
const stampSize = 2 + 16 + stampDigits + 1

// AppendStamp appends an SEI NAL unit that carries a wall clock time, in the form of that
// codec's frame data, to be placed before the slices. From it a viewer knows the age of
// the frame.
func (c Codec) AppendStamp(data []byte, t time.Time) []byte {
	header := c.info().video.seiHeader
	data = binary.BigEndian.AppendUint32(data, uint32(len(header)+stampSize))
	data = append(data, header...)
	data = append(data, 5, 16+stampDigits) // user_data_unregistered
	data = append(data, stampID...)
	digits := len(data)
	data = strconv.AppendInt(data, t.UnixNano(), 10)
	if len(data)-digits != stampDigits {
		data = append(data[:digits], "0000000000000000000"...) // not a time of this era
	}
	return append(data, 0x80)
}

// NextStamp finds the first wall clock time in bytes that hold whole NAL units, in any
// framing, and returns the bytes after it.
func NextStamp(b []byte) (t time.Time, rest []byte, ok bool) {
	for {
		i := bytes.Index(b, stampID)
		if i < 0 || len(b)-i < len(stampID)+stampDigits {
			return time.Time{}, nil, false
		}
		b = b[i+len(stampID):]
		if n, err := strconv.ParseInt(string(b[:stampDigits]), 10, 64); err == nil {
			return time.Unix(0, n), b[stampDigits:], true
		}
	}
}
