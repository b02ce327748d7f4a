package main

import (
	"bytes"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"
	"github.com/aws/aws-sdk-go-v2/service/ivs/types"

	"github.com/millrace/millrace/internal/rtmp"
)

// An encoder that is refused learns why, at the encoder and in the log, and leaves
// no session behind, or one that never went live.
func TestRefusals(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	secure, secureKey := s.channel(awsivs.CreateChannelInput{})
	open, openKey := s.channel(awsivs.CreateChannelInput{InsecureIngest: true})
	av := slices.Concat(testInputs, testCodecs)

	for _, tt := range []struct {
		name     string
		address  string
		args     []string
		says     string // what ffmpeg prints
		log      string // what the server logs
		channel  types.Channel
		sessions int
	}{
		{"unknown key", rtmpURL(s.rtmp, "sk_us-west-2_nosuchkey123_x"), av, "Unknown stream key", `msg="publish refused"`, open, 0},
		{"wrong app", "rtmp://" + s.rtmp + "/live/" + openKey, av, `publish to "app"`, "InvalidApp", open, 0},
		{"plain RTMP to a channel that wants RTMPS", rtmpURL(s.rtmp, secureKey), av, "Use rtmps://", "encrypted ingest only", secure, 0},
		{"Sorenson H.263", rtmpURL(s.rtmp, openKey), slices.Concat(testInputs, []string{"-c:v", "flv1", "-c:a", "aac"}), "", "H.264", open, 1},
		{"MP3", rtmpURL(s.rtmp, openKey), slices.Concat(testInputs, []string{"-c:v", "libx264", "-c:a", "mp3", "-ar", "44100"}), "", "AAC", open, 1},
		{"audio only", rtmpURL(s.rtmp, openKey), slices.Concat(testInputs[5:], []string{"-c:a", "aac"}), "", "no video", open, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := len(sessionsOf(t, s, tt.channel))
			logged := len(s.log.String())
			e := publish(t, tt.address, tt.args...)
			e.wait()
			if tt.says != "" && !strings.Contains(e.stderr.String(), tt.says) {
				t.Errorf("ffmpeg does not say %q:\n%s", tt.says, e.stderr)
			}
			wait(t, "the log to say "+tt.log, func() bool { return strings.Contains(s.log.String()[logged:], tt.log) })
			var sessions []types.StreamSessionSummary
			wait(t, "the sessions that the attempt leaves", func() bool {
				sessions = sessionsOf(t, s, tt.channel)
				return len(sessions)-before == tt.sessions
			})
			if tt.sessions == 1 {
				checkNeverLive(t, s, tt.channel, *sessions[0].StreamId, "")
			}
		})
	}
	testEnhancedRefusals(t, s, open, openKey)
	t.Run("a key where none belongs", func(t *testing.T) {
		_, secret, _ := strings.Cut(strings.TrimPrefix(openKey, "sk_"), "_")
		get(t, s.api+"/app/"+openKey)
		get(t, s.api+"//app%2F"+openKey+"?name="+openKey)
		if strings.Contains(s.log.String(), secret) {
			t.Error("the log has a stream key")
		}
	})

	t.Run("channel that is live already", func(t *testing.T) {
		publish(t, rtmpURL(s.rtmp, openKey), av...)
		stream := s.live(open.Arn)
		second := publish(t, rtmpURL(s.rtmp, openKey), av...)
		second.wait()
		if !strings.Contains(second.stderr.String(), "live already") {
			t.Errorf("ffmpeg does not say that the channel is live already:\n%s", second.stderr)
		}
		if now := s.live(open.Arn); *now.StreamId != *stream.StreamId {
			t.Error("the second encoder disturbed the first")
		}
	})
}

// testEnhancedRefusals publishes what only Enhanced RTMP can announce.
func testEnhancedRefusals(t *testing.T, s *server, open types.Channel, openKey string) {
	clip, err := recordTestPattern(t.Context(), testPattern{Size: "320x180", FPS: 30, Bitrate: 200})
	if err != nil {
		t.Fatal(err)
	}
	must, mustKey := s.channel(awsivs.CreateChannelInput{InsecureIngest: true, ContainerFormat: types.ContainerFormatFragmentedMP4,
		MultitrackInputConfiguration: &types.MultitrackInputConfiguration{Enabled: true, Policy: types.MultitrackPolicyRequire, MaximumResolution: types.MultitrackMaximumResolutionHd}})
	for _, tt := range []struct {
		name, tag, says string
		channel         types.Channel
		key, code       string
	}{
		{"HEVC", "\x90hvc1", "HEVC video", open, openKey, ""},
		{"AV1", "\x90av01", "AV1 video", open, openKey, ""},
		{"multitrack", "\x96avc1", "multitrack video", open, openKey, "MultitrackInputNotAllowed"},
		{"multitrack where it is required", "\x96avc1", "multitrack video", must, mustKey, ""},
		{"a single track where more are required", "\x90avc1", "requires multitrack video", must, mustKey, "MultitrackInputRequired"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			logged := len(s.log.String())
			err := publishEnhanced(t, rtmpURL(s.rtmp, tt.key), clip, tt.tag)
			if refusal := (*rtmp.StatusError)(nil); !errors.As(err, &refusal) || refusal.Code != rtmp.CodeRejected || !strings.Contains(refusal.Description, tt.says) {
				t.Errorf("the encoder is told %v, want %q", err, tt.says)
			}
			wait(t, "the log to say "+tt.says, func() bool { return strings.Contains(s.log.String()[logged:], tt.says) })
			checkNeverLive(t, s, tt.channel, *sessionsOf(t, s, tt.channel)[0].StreamId, tt.code)
		})
	}
}

// publishEnhanced publishes clip in the form of Enhanced RTMP, with another
// beginning of the sequence header than that of H.264, until the server has had
// enough.
func publishEnhanced(t *testing.T, address string, clip *clip, tag string) error {
	t.Helper()
	nc, err := net.Dial("tcp", strings.Split(address, "/")[2])
	if err != nil {
		t.Fatal(err)
	}
	client, err := rtmp.Publish(t.Context(), replacingConn{nc, tag}, address)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	client.FourCC = true
	source := &paced{source: clip.loop()}
	for {
		f, err := source.ReadFrame()
		if err == nil {
			err = client.WriteFrame(f)
		}
		if err != nil || f.DTS > 20*time.Second {
			return err
		}
	}
}

// A replacingConn writes something else where a sequence header of H.264 begins.
type replacingConn struct {
	net.Conn
	tag string
}

func (c replacingConn) Write(b []byte) (int, error) {
	_, err := c.Conn.Write(bytes.Replace(b, []byte("\x90avc1"), []byte(c.tag), 1))
	return len(b), err
}

func sessionsOf(t *testing.T, s *server, channel types.Channel) []types.StreamSessionSummary {
	t.Helper()
	out, err := s.ivs().ListStreamSessions(t.Context(), &awsivs.ListStreamSessionsInput{ChannelArn: channel.Arn})
	if err != nil {
		t.Fatal(err)
	}
	return out.StreamSessions
}

func checkNeverLive(t *testing.T, s *server, channel types.Channel, id, code string) {
	t.Helper()
	var names []string
	var ended types.StreamEvent
	wait(t, "the session to end", func() bool {
		out, err := s.ivs().GetStreamSession(t.Context(), &awsivs.GetStreamSessionInput{ChannelArn: channel.Arn, StreamId: &id})
		if err != nil {
			t.Fatal(err)
		}
		names = nil
		for _, e := range out.StreamSession.TruncatedEvents {
			names = append(names, *e.Name)
		}
		ended = out.StreamSession.TruncatedEvents[0]
		return len(names) == 2
	})
	if !slices.Equal(names, []string{"Session Ended", "Session Created"}) {
		t.Errorf("events of a session that never went live: %q", names)
	}
	if got := aws.ToString(ended.Code); got != code {
		t.Errorf("Session Ended has the code %q, want %q", got, code)
	}
}
