package record

import (
	"slices"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/ivs"
)

// Which streams are merged, and why others are not.
func TestDiffers(t *testing.T) {
	first := time.Date(2026, 5, 1, 9, 3, 14, 0, time.UTC)
	configuration := ivs.RecordingConfiguration{ARN: "arn:one"}
	ingest := ivs.IngestConfigurations{
		Video: []ivs.VideoConfiguration{{Codec: "avc1.64002A", TargetBitrate: 4_000_000, TargetFramerate: 30, VideoWidth: 1920, VideoHeight: 1080}},
		Audio: []ivs.AudioConfiguration{{Codec: "mp4a.40.2", TargetBitrate: 128_000}},
	}
	type stream struct {
		m       manifest
		session ivs.StreamSession
		now     time.Time
	}
	video := func(change func(*ivs.VideoConfiguration)) func(*stream) {
		return func(s *stream) { change(&s.session.IngestConfigurations.Video[0]) }
	}
	for _, tt := range []struct {
		name   string
		change func(*stream)
		want   string
	}{
		{"the same", func(*stream) {}, ""},
		{"half of the bit rate", video(func(v *ivs.VideoConfiguration) { v.TargetBitrate = 2_000_000 }), ""},
		{"less than half", video(func(v *ivs.VideoConfiguration) { v.TargetBitrate = 1_999_999 }), "a bit rate that differs by more than half"},
		{"half as much more", video(func(v *ivs.VideoConfiguration) { v.TargetBitrate = 6_000_000 }), ""},
		{"more than that", video(func(v *ivs.VideoConfiguration) { v.TargetBitrate = 6_000_001 }), "a bit rate that differs by more than half"},
		{"an unknown bit rate", video(func(v *ivs.VideoConfiguration) { v.TargetBitrate = 0 }), ""},
		{"width", video(func(v *ivs.VideoConfiguration) { v.VideoWidth = 1440 }), "another resolution"},
		{"height", video(func(v *ivs.VideoConfiguration) { v.VideoHeight = 720 }), "another resolution"},
		{"frame rate", video(func(v *ivs.VideoConfiguration) { v.TargetFramerate = 60 }), "another frame rate"},
		{"video codec", video(func(v *ivs.VideoConfiguration) { v.Codec = "avc1.4D401F" }), "another video codec"},
		{"audio codec", func(s *stream) { s.session.IngestConfigurations.Audio[0].Codec = "mp4a.40.5" }, "another audio codec"},
		{"audio bit rate", func(s *stream) { s.session.IngestConfigurations.Audio[0].TargetBitrate = 32_000 }, ""},
		{"no audio", func(s *stream) { s.session.IngestConfigurations.Audio = nil }, "other tracks"},
		{"nothing known", func(s *stream) { s.session.IngestConfigurations = nil }, "other tracks"},
		{"configuration", func(s *stream) { s.session.RecordingConfiguration.ARN = "arn:two" }, "another recording configuration"},
		{"channel type", func(s *stream) { s.session.Channel.Type = ivs.TypeBasic }, "another channel type"},
		{"container", func(s *stream) { s.session.Channel.ContainerFormat = ivs.ContainerFMP4 }, "another container format"},
		{"the 20th stream", func(s *stream) { s.m.Streams = make([]string, 19) }, ""},
		{"the 21st", func(s *stream) { s.m.Streams = make([]string, 20) }, "it has 20 streams"},
		{"within 48 hours", func(s *stream) { s.now = first.Add(48*time.Hour - time.Second) }, ""},
		{"after them", func(s *stream) { s.now = first.Add(48 * time.Hour) }, "it is 48 hours old"},
	} {
		c, i := configuration, ivs.IngestConfigurations{Video: slices.Clone(ingest.Video), Audio: slices.Clone(ingest.Audio)}
		s := stream{
			m:       manifest{identity{ChannelType: ivs.TypeStandard, Configuration: configuration, Ingest: ingest, CreatedAt: first}, progress{Streams: []string{"st-1"}}},
			session: ivs.StreamSession{RecordingConfiguration: &c, IngestConfigurations: &i},
			now:     first.Add(time.Hour),
		}
		s.session.Channel.Type, s.session.Channel.ContainerFormat = ivs.TypeStandard, ivs.ContainerTS
		tt.change(&s)
		if got := s.m.differs(s.session, s.now); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
