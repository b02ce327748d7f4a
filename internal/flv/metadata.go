package flv

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode"

	"github.com/millrace/millrace/internal/amf0"
)

// ErrNotMetadata is the error for a well-formed script tag that is not an onMetaData.
var ErrNotMetadata = errors.New("script tag is not an onMetaData")

// Metadata holds the properties of onMetaData that are used. It is untrusted: a field is
// zero if the encoder gave no valid value, and the text must be escaped.
type Metadata struct {
	Encoder         string  // at most 256 bytes of UTF-8 without control characters
	VideoDataRate   float64 // bits a second
	AudioDataRate   float64 // bits a second
	FrameRate       float64 // frames a second
	Width, Height   int     // pixels
	AudioSampleRate int     // Hz
	AudioChannels   int
}

const maxEncoder = 256 // bytes of Metadata.Encoder

// ParseMetadata reads the body of a script tag or of an RTMP data message. The
// error wraps ErrNotMetadata or ErrMalformed.
func ParseMetadata(body []byte) (Metadata, error) {
	values, err := amf0.Decode(body)
	if len(values) > 0 && values[0] == amf0.String("@setDataFrame") {
		values = values[1:]
	}
	if len(values) > 0 {
		if name, _ := values[0].(amf0.String); name != "onMetaData" {
			return Metadata{}, fmt.Errorf("%w but %.32q", ErrNotMetadata, string(name))
		}
	}
	if len(values) < 2 {
		return Metadata{}, fmt.Errorf("%w: onMetaData: %w", ErrMalformed, cmp.Or(err, amf0.ErrTruncated))
	}
	return parseProperties(values[1]), nil
}

func parseProperties(v amf0.Value) Metadata {
	encoder, _ := amf0.Get(v, "encoder").(amf0.String)
	m := Metadata{
		Encoder:         printable(string(encoder)),
		FrameRate:       number(v, "framerate", 1000),
		Width:           int(number(v, "width", 1<<15)),
		Height:          int(number(v, "height", 1<<15)),
		AudioSampleRate: int(number(v, "audiosamplerate", 1<<19)),
		AudioChannels:   int(number(v, "audiochannels", 64)),
	}
	m.VideoDataRate = number(v, "videodatarate", 1e7) * kilobit
	m.AudioDataRate = number(v, "audiodatarate", 1e7) * kilobit
	if stereo, ok := amf0.Get(v, "stereo").(amf0.Bool); ok && m.AudioChannels == 0 {
		m.AudioChannels = 1
		if stereo {
			m.AudioChannels = 2
		}
	}
	return m
}

// kilobit is the unit of a data rate in onMetaData. ffmpeg divides by 1024, so
// that its 9000 kbit/s show as 8789062 bit/s here, as they do in IVS.
const kilobit = 1000

// number returns the property of v called key, or 0 if it is not a number
// above 0 and up to limit.
func number(v amf0.Value, key string, limit float64) float64 {
	n, _ := amf0.Get(v, key).(amf0.Number)
	if f := float64(n); f > 0 && f <= limit { // false for NaN
		return f
	}
	return 0
}

func printable(s string) string {
	s = strings.ToValidUTF8(s[:min(len(s), maxEncoder)], "")
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
}

// AppendMetadata appends the body of an onMetaData tag with the fields of m that are set.
func AppendMetadata(b []byte, m Metadata) []byte {
	var props amf0.ECMAArray
	add := func(key string, n float64) {
		if n > 0 && !math.IsInf(n, 1) {
			props = append(props, amf0.Property{Key: key, Value: amf0.Number(n)})
		}
	}
	add("width", float64(m.Width))
	add("height", float64(m.Height))
	add("framerate", m.FrameRate)
	add("videodatarate", m.VideoDataRate/kilobit)
	add("audiodatarate", m.AudioDataRate/kilobit)
	add("audiosamplerate", float64(m.AudioSampleRate))
	add("audiochannels", float64(m.AudioChannels))
	if m.Encoder != "" {
		props = append(props, amf0.Property{Key: "encoder", Value: amf0.String(m.Encoder)})
	}
	return amf0.Append(b, amf0.String("onMetaData"), props)
}
