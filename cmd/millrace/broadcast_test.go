package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"
	"github.com/aws/aws-sdk-go-v2/service/ivs/types"
)

// The main job: a real encoder publishes, ffprobe and ffmpeg play, the SDK
// reads what happened.
func TestBroadcast(t *testing.T) {
	for _, tt := range []struct {
		name      string
		container types.ContainerFormat
		latency   types.ChannelLatencyMode
		tls       bool
		inputs    []string
		codecs    []string
		audio     bool
	}{
		{"TS over RTMP", types.ContainerFormatTs, types.ChannelLatencyModeLowLatency, false, testInputs, testCodecs, true},
		{"fMP4 over RTMPS", types.ContainerFormatFragmentedMP4, types.ChannelLatencyModeLowLatency, true, testInputs, testCodecs, true},
		{"plain HLS", types.ContainerFormatTs, types.ChannelLatencyModeNormalLatency, false, testInputs, testCodecs, true},
		{"B-frames", types.ContainerFormatTs, types.ChannelLatencyModeLowLatency, false, testInputs, withoutOption(testCodecs, "-tune"), true},
		{"no audio", types.ContainerFormatFragmentedMP4, types.ChannelLatencyModeLowLatency, false, testInputs[:5], testCodecs[:len(testCodecs)-6], false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel() // it mostly waits
			s := startServer(t, "")
			channel, key := s.channel(awsivs.CreateChannelInput{Name: aws.String("e2e"), ContainerFormat: tt.container, LatencyMode: tt.latency, InsecureIngest: !tt.tls})
			address := rtmpURL(s.rtmp, key)
			if tt.tls {
				address = rtmpsURL(s.rtmps, key)
			}
			began := time.Now()
			e := publish(t, address, slices.Concat(tt.inputs, tt.codecs)...)
			stream := s.live(channel.Arn)
			t.Logf("start to ready %v, ffmpeg's start to live %v", s.ready, time.Since(began).Round(time.Millisecond))
			checkStream(t, s, channel, stream)
			checkPlayable(t, *channel.PlaybackUrl, tt.audio)
			e.leave()
			checkSession(t, s.ended(channel.Arn, stream.StreamId), channel, stream, tt.audio)
			checkOffline(t, s, channel)
		})
	}
}

// withoutOption leaves an option and its value out of ffmpeg's arguments.
func withoutOption(args []string, name string) []string {
	i := slices.Index(args, name)
	return slices.Delete(slices.Clone(args), i, i+2)
}

func checkStream(t *testing.T, s *server, channel types.Channel, stream types.Stream) {
	t.Helper()
	if stream.State != types.StreamStateStreamLive || aws.ToString(stream.PlaybackUrl) != aws.ToString(channel.PlaybackUrl) {
		t.Errorf("GetStream = %s, %s", stream.State, aws.ToString(stream.PlaybackUrl))
	}
	if d := time.Since(aws.ToTime(stream.StartTime)); d < 0 || d > patience {
		t.Errorf("startTime is %v ago", d)
	}
	wait(t, "the stream to be HEALTHY in ListStreams", func() bool {
		out, err := s.ivs().ListStreams(t.Context(), &awsivs.ListStreamsInput{FilterBy: &types.StreamFilters{Health: types.StreamHealthStreamHealthy}})
		return err == nil && len(out.Streams) == 1 && *out.Streams[0].StreamId == *stream.StreamId
	})
}

// probed is ffprobe's description of a stream.
type probed struct {
	Streams []struct {
		Type   string `json:"codec_type"`
		Codec  string `json:"codec_name"`
		Width  int    `json:"width"`
		Height int    `json:"height"`
		Frames string `json:"nb_read_frames"`
	} `json:"streams"`
}

// checkPlayable lets ffprobe decode four seconds.
func checkPlayable(t *testing.T, playback string, audio bool) {
	t.Helper()
	waitPlayable(t, playback)
	var got probed
	out := output(t, nil, "ffprobe", "-v", "error", "-count_frames", "-read_intervals", "%+4", "-show_entries", "stream=codec_type,codec_name,width,height,nb_read_frames", "-of", "json", playback)
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for _, s := range got.Streams {
		kinds[s.Codec]++
		frames := 0
		fmt.Sscan(s.Frames, &frames)
		if s.Type == "video" && (s.Width != 640 || s.Height != 360 || frames < 100) || s.Type == "audio" && frames < 100 {
			t.Errorf("ffprobe found %+v", s)
		}
	}
	if kinds["h264"] != 1 || audio != (kinds["aac"] == 1) {
		t.Errorf("ffprobe found the codecs %v", kinds)
	}
	// A decoder that complains about what it reads says so at level error.
	command := "ffmpeg"
	if out := output(t, nil, command, "-v", "error", "-t", "3", "-i", playback, "-f", "null", "-"); out != "" {
		t.Errorf("ffmpeg: %s", out)
	}
}

// waitPlayable waits for the first whole segment, which players that know no
// parts begin with.
func waitPlayable(t *testing.T, playback string) {
	t.Helper()
	wait(t, "the first segment", func() bool {
		_, _, media := playlists(t, playback)
		return strings.Contains(media, "#EXTINF")
	})
}

// playlists fetches the multivariant playlist and the media playlist it names.
func playlists(t *testing.T, playback string) (multivariant, mediaURL, media string) {
	t.Helper()
	status, _, body := get(t, playback)
	if status != 200 {
		return string(body), "", ""
	}
	for line := range strings.Lines(string(body)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			base, _ := url.Parse(playback)
			ref, err := base.Parse(line)
			if err != nil {
				t.Fatal(err)
			}
			_, _, m := get(t, ref.String())
			return string(body), ref.String(), string(m)
		}
	}
	t.Fatalf("the multivariant playlist names no rendition:\n%s", body)
	return
}

// fetchNewest has the viewer session of a media playlist served media of it.
func fetchNewest(t *testing.T, mediaURL string) {
	t.Helper()
	_, _, list := get(t, mediaURL)
	segment, part := uris(string(list))
	get(t, mediaURL[:strings.LastIndexByte(mediaURL, '/')+1]+cmp.Or(part, segment))
}

// stateChanges are the names of a session's events, the newest first, without
// those of an encoder that could not keep up: it shares a machine with the tests.
func stateChanges(session types.StreamSession) (names []string) {
	for _, e := range newestFirst(session) {
		if !strings.HasPrefix(*e.Name, "Starvation ") {
			names = append(names, *e.Name)
		}
	}
	return names
}

// newestFirst are a session's events in the order in which they were recorded:
// the API shows Session Ended before a Stream End of the same second.
func newestFirst(session types.StreamSession) []types.StreamEvent {
	events := slices.Clone(session.TruncatedEvents)
	for i := 1; i < len(events); i++ {
		if *events[i-1].Name == "Session Ended" && *events[i].Name == "Stream End" && events[i-1].EventTime.Equal(*events[i].EventTime) {
			events[i-1], events[i] = events[i], events[i-1]
		}
	}
	return events
}

func checkSession(t *testing.T, session types.StreamSession, channel types.Channel, stream types.Stream, audio bool) {
	t.Helper()
	events := stateChanges(session)
	want := []string{"Stream End", "Session Ended", "Stream Start", "Session Created"}
	if !slices.Equal(events, want) {
		t.Errorf("events %q, want %q", events, want)
	}
	if *session.StreamId != *stream.StreamId || !session.StartTime.Equal(*stream.StartTime) || !session.EndTime.After(*session.StartTime) {
		t.Errorf("session %s from %v to %v; stream %s from %v", *session.StreamId, session.StartTime, session.EndTime, *stream.StreamId, stream.StartTime)
	}
	if session.Channel == nil || *session.Channel.Arn != *channel.Arn || session.Channel.ContainerFormat != channel.ContainerFormat {
		t.Errorf("the session's channel is %+v", session.Channel)
	}
	v := session.IngestConfiguration.Video
	if v == nil || *v.Codec == "" || v.VideoWidth != 640 || v.VideoHeight != 360 || v.TargetFramerate != 30 || !strings.HasPrefix(*v.Encoder, "Lavf") {
		t.Errorf("ingestConfiguration.video = %+v", v)
	}
	if got := len(session.IngestConfigurations.AudioConfigurations) == 1; got != audio {
		t.Errorf("ingestConfigurations has audio: %v, want %v", got, audio)
	}
	if audio && (session.IngestConfiguration.Audio.SampleRate != 48000 || session.IngestConfiguration.Audio.Channels != 2 || session.IngestConfiguration.Audio.TargetBitrate == 0) {
		t.Errorf("ingestConfiguration.audio = %+v", session.IngestConfiguration.Audio)
	}
}

func checkOffline(t *testing.T, s *server, channel types.Channel) {
	t.Helper()
	_, err := s.ivs().GetStream(t.Context(), &awsivs.GetStreamInput{ChannelArn: channel.Arn})
	if offline := (*types.ChannelNotBroadcasting)(nil); !errors.As(err, &offline) {
		t.Errorf("GetStream of an offline channel: %v, want ChannelNotBroadcasting", err)
	}
	if status, _, body := get(t, *channel.PlaybackUrl); status != 404 || !strings.HasPrefix(string(body), "[{") {
		t.Errorf("the playback URL of an offline channel: %d %s", status, body)
	}
}

// Viewers are counted while they play, once each, and the end of a stream is
// still there for them to fetch.
func TestViewersAndEnd(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	channel, key := s.channel(awsivs.CreateChannelInput{InsecureIngest: true})
	e := publish(t, rtmpURL(s.rtmp, key), slices.Concat(testInputs, testCodecs)...)
	stream := s.live(channel.Arn)
	if stream.ViewerCount != 0 {
		t.Errorf("viewerCount before anyone watched: %d", stream.ViewerCount)
	}
	playlists(t, *channel.PlaybackUrl) // who fetches playlists alone is no viewer
	_, first, _ := playlists(t, *channel.PlaybackUrl)
	_, second, _ := playlists(t, *channel.PlaybackUrl)
	wait(t, "two viewers", func() bool {
		fetchNewest(t, first)
		fetchNewest(t, second)
		return s.live(channel.Arn).ViewerCount >= 2
	})
	if n := s.live(channel.Arn).ViewerCount; n != 2 {
		t.Errorf("%d viewers, want 2", n)
	}
	e.leave()
	s.ended(channel.Arn, stream.StreamId)
	if _, _, body := get(t, first); !strings.Contains(string(body), "#EXT-X-ENDLIST") {
		t.Errorf("the playlist of the ended stream has no EXT-X-ENDLIST:\n%s", body)
	}
}

// Each broadcast is a session of its own, and StopStream ends one at once.
func TestStopStream(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	channel, key := s.channel(awsivs.CreateChannelInput{InsecureIngest: true})
	client := s.ivs()
	var ids []string
	for range 2 {
		e := publish(t, rtmpURL(s.rtmp, key), slices.Concat(testInputs, testCodecs)...)
		stream := s.live(channel.Arn)
		ids = append(ids, *stream.StreamId)
		if _, err := client.UpdateChannel(t.Context(), &awsivs.UpdateChannelInput{Arn: channel.Arn, Name: aws.String("no")}); !isConflict(err) {
			t.Errorf("UpdateChannel of a live channel: %v, want ConflictException", err)
		}
		if _, err := client.DeleteChannel(t.Context(), &awsivs.DeleteChannelInput{Arn: channel.Arn}); !isConflict(err) {
			t.Errorf("DeleteChannel of a live channel: %v, want ConflictException", err)
		}
		if _, err := client.StopStream(t.Context(), &awsivs.StopStreamInput{ChannelArn: channel.Arn}); err != nil {
			t.Fatalf("StopStream: %v", err)
		}
		if _, err := client.GetStream(t.Context(), &awsivs.GetStreamInput{ChannelArn: channel.Arn}); err == nil {
			t.Error("the channel is live after StopStream")
		}
		e.wait()
	}
	out, err := client.ListStreamSessions(t.Context(), &awsivs.ListStreamSessionsInput{ChannelArn: channel.Arn})
	if err != nil {
		t.Fatal(err)
	}
	if len(out.StreamSessions) != 2 || *out.StreamSessions[0].StreamId != ids[1] || *out.StreamSessions[1].StreamId != ids[0] {
		t.Errorf("ListStreamSessions: %d sessions, want the two, newest first", len(out.StreamSessions))
	}
	_, err = client.StopStream(t.Context(), &awsivs.StopStreamInput{ChannelArn: channel.Arn})
	if offline := (*types.ChannelNotBroadcasting)(nil); !errors.As(err, &offline) {
		t.Errorf("StopStream of an offline channel: %v, want ChannelNotBroadcasting", err)
	}
	if _, err := client.DeleteChannel(context.Background(), &awsivs.DeleteChannelInput{Arn: channel.Arn}); err != nil {
		t.Errorf("DeleteChannel: %v", err)
	}
	if _, err := client.GetStreamSession(t.Context(), &awsivs.GetStreamSessionInput{ChannelArn: channel.Arn, StreamId: &ids[0]}); err != nil {
		t.Errorf("the history of a deleted channel: %v", err)
	}
}

func isConflict(err error) bool {
	conflict := (*types.ConflictException)(nil)
	return errors.As(err, &conflict)
}
