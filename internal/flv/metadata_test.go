package flv_test

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/millrace/millrace/internal/amf0"
	"github.com/millrace/millrace/internal/flv"
)

func script(values ...amf0.Value) []byte { return amf0.Append(nil, values...) }

func prop(key string, v amf0.Value) amf0.Property { return amf0.Property{Key: key, Value: v} }

func TestParseMetadata(t *testing.T) {
	obs := []amf0.Property{
		prop("duration", amf0.Number(0)), prop("width", amf0.Number(1920)), prop("height", amf0.Number(1080)),
		prop("videocodecid", amf0.String("avc1")), prop("videodatarate", amf0.Number(6000)), prop("framerate", amf0.Number(60)),
		prop("audiocodecid", amf0.String("mp4a")), prop("audiodatarate", amf0.Number(160)), prop("audiosamplerate", amf0.Number(48000)),
		prop("audiochannels", amf0.Number(2)), prop("stereo", amf0.Bool(true)), prop("encoder", amf0.String("obs-output module (libobs version 30.2)")),
	}
	want := flv.Metadata{
		Encoder: "obs-output module (libobs version 30.2)", VideoDataRate: 6e6, AudioDataRate: 160e3,
		FrameRate: 60, Width: 1920, Height: 1080, AudioSampleRate: 48000, AudioChannels: 2,
	}
	name, set := amf0.String("onMetaData"), amf0.String("@setDataFrame")
	times := slices.Repeat(amf0.StrictArray{amf0.Number(1)}, 10_000)
	index := prop("keyframes", amf0.Object{prop("times", times), prop("filepositions", times)})
	nonsense := amf0.Object{
		prop("width", amf0.Number(math.NaN())), prop("height", amf0.Number(-1)), prop("framerate", amf0.Number(math.Inf(1))),
		prop("videodatarate", amf0.Number(1e300)), prop("audiodatarate", amf0.String("160")), prop("encoder", amf0.Number(7)),
		prop("audiochannels", amf0.Number(1e6)), prop("audiosamplerate", amf0.Null{}),
	}
	tests := []struct {
		name string
		body []byte
		want flv.Metadata
	}{
		{"array behind @setDataFrame", script(set, name, amf0.ECMAArray(obs)), want},
		{"object", script(name, amf0.Object(obs)), want},
		{"bytes behind", append(script(name, amf0.Object(obs)), 0xff), want},
		{"nonsense", script(name, nonsense), flv.Metadata{}},
		{"index of key frames in front", script(name, append(amf0.ECMAArray{index}, obs...)), want},
		{"index of key frames behind", script(name, append(amf0.ECMAArray(slices.Clone(obs)), index)), want},
		{"damaged behind what counts", script(name, amf0.ECMAArray(obs))[:len(script(name, amf0.ECMAArray(obs)))-3], want},
		{"not an object", script(name, amf0.Number(1)), flv.Metadata{}},
		{"ffmpeg's kilobit", script(name, amf0.Object{prop("videodatarate", amf0.Number(1171.875)), prop("encoder", amf0.String("Lavf59.27"))}), flv.Metadata{Encoder: "Lavf59.27", VideoDataRate: 1_171_875}},
		{"mono", script(name, amf0.Object{prop("stereo", amf0.Bool(false))}), flv.Metadata{AudioChannels: 1}},
		{"control characters", script(name, amf0.Object{prop("encoder", amf0.String("a\x00b\nc\x1b[31m\xffd\u202ee"))}), flv.Metadata{Encoder: "abc[31mde"}},
		{"long text", script(name, amf0.Object{prop("encoder", amf0.String(strings.Repeat("é", 1000)))}), flv.Metadata{Encoder: strings.Repeat("é", 128)}},
	}
	for _, tt := range tests {
		got, err := flv.ParseMetadata(tt.body)
		if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", tt.name, err, diff)
		}
	}
}

func TestParseMetadataErrors(t *testing.T) {
	tests := []struct {
		name string
		body []byte
		want error
	}{
		{"another event", script(amf0.String("onTextData"), amf0.Object{}), flv.ErrNotMetadata},
		{"not a name", script(amf0.Number(1), amf0.Object{}), flv.ErrNotMetadata},
		{"empty", nil, flv.ErrMalformed},
		{"only a command", script(amf0.String("@setDataFrame")), flv.ErrMalformed},
		{"only a name", script(amf0.String("onMetaData")), flv.ErrMalformed},
		{"cut", script(amf0.String("onMetaData"), amf0.Object{prop("a", amf0.Null{})})[:16], flv.ErrMalformed},
		{"AMF3", append(script(amf0.String("onMetaData")), 0x11, 0x0a), flv.ErrMalformed},
	}
	for _, tt := range tests {
		if _, err := flv.ParseMetadata(tt.body); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestAppendMetadata(t *testing.T) {
	for _, want := range []flv.Metadata{
		{},
		{Encoder: "Millrace", VideoDataRate: 1.2e6, AudioDataRate: 96e3, FrameRate: 29.97, Width: 854, Height: 480, AudioSampleRate: 44100, AudioChannels: 1},
	} {
		got, err := flv.ParseMetadata(flv.AppendMetadata(nil, want))
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%v\n%s", err, diff)
		}
	}
}

// What comes out is bounded and can be said again.
func FuzzParseMetadata(f *testing.F) {
	f.Add(script(amf0.String("@setDataFrame"), amf0.String("onMetaData"), amf0.ECMAArray{prop("width", amf0.Number(1)), prop("encoder", amf0.String("x"))}))
	f.Add(script(amf0.String("onMetaData"), amf0.Object{prop("framerate", amf0.Number(math.NaN())), prop("stereo", amf0.Bool(true))}))
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := flv.ParseMetadata(body)
		if err != nil {
			return
		}
		if len(m.Encoder) > 256 || !(m.FrameRate >= 0 && m.FrameRate <= 1000) || !(m.VideoDataRate >= 0 && m.VideoDataRate < 1e11) || m.Width < 0 || m.Width > 1<<15 {
			t.Errorf("metadata %+v", m)
		}
	})
}
