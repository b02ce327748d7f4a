package main

import (
	"fmt"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"
	"github.com/aws/aws-sdk-go-v2/service/ivs/types"
)

// numberedFrames is a broadcast of a test source such as "color" (black) or
// "testsrc2". Across its middle each carries its number, mod 256, in eight
// fields that are black or white.
func numberedFrames(source, size string, rate int) []string {
	filter := ",drawbox=y=ih*0.4:h=ih*0.2:color=black:t=fill"
	for bit := range 8 {
		filter += fmt.Sprintf(",drawbox=x=%d*iw/8:y=ih*0.4:w=iw/8:h=ih*0.2:color=white:t=fill:enable='mod(floor((t*%d+0.5)/%d),2)'", bit, rate, 1<<bit)
	}
	return []string{"-re", "-f", "lavfi", "-i", fmt.Sprintf("%s=size=%s:rate=%d%s", source, size, rate, filter),
		"-re", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000",
		"-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-pix_fmt", "yuv420p", "-g", strconv.Itoa(2 * rate), "-b:v", "1500k",
		"-c:a", "aac", "-b:a", "96k", "-ac", "2"}
}

var withLadder = []string{"--transcode", "required", "--transcode-capacity", "10"}

// renditions are the media playlists that the multivariant playlist names, by
// the name of the rendition.
func renditions(t *testing.T, playback string) map[string]string {
	t.Helper()
	_, _, body := get(t, playback)
	base, err := url.Parse(playback)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for line := range strings.Lines(string(body)) {
		if line = strings.TrimSpace(line); strings.HasSuffix(line, "/playlist.m3u8") {
			u, err := base.Parse(line)
			if err != nil {
				t.Fatal(err)
			}
			found[filepath.Base(filepath.Dir(u.Path))] = u.String()
		}
	}
	return found
}

// Each type of channel offers its ladder, and every rung of it plays: in step
// with all others, frame by frame, and in a browser that goes from each to
// the next.
func TestLadders(t *testing.T) {
	for _, tt := range []struct {
		name      string
		channel   types.ChannelType
		container types.ContainerFormat
		size      string
		rate      int
		want      map[string]string // sizes by name
	}{
		{"STANDARD", types.ChannelTypeStandardChannelType, types.ContainerFormatTs, "1280x720", 15, // half a rate, for slow machines
			map[string]string{"720p30": "1280x720", "480p30": "852x480", "360p30": "640x360", "160p30": "284x160"}},
		{"STANDARD with a larger source", types.ChannelTypeStandardChannelType, types.ContainerFormatFragmentedMP4, "1366x768", 25,
			map[string]string{"source": "1366x768", "720p30": "1280x720", "480p30": "852x480", "360p30": "640x360", "160p30": "284x160"}},
		{"ADVANCED_SD", types.ChannelTypeAdvancedSDChannelType, types.ContainerFormatTs, "640x360", 50,
			map[string]string{"360p30": "640x360", "160p30": "284x160", "audio_only": ""}},
		{"ADVANCED_HD", types.ChannelTypeAdvancedHDChannelType, types.ContainerFormatFragmentedMP4, "960x540", 15,
			map[string]string{"540p30": "960x540", "480p30": "852x480", "360p30": "640x360", "160p30": "284x160", "audio_only": ""}},
		{"BASIC", types.ChannelTypeBasicChannelType, types.ContainerFormatTs, "640x360", 30,
			map[string]string{"source": "640x360"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := startServer(t, "", withLadder...)
			channel, key := s.channel(awsivs.CreateChannelInput{InsecureIngest: true, Type: tt.channel, ContainerFormat: tt.container})
			publish(t, rtmpURL(s.rtmp, key), numberedFrames("color", tt.size, tt.rate)...)
			s.live(channel.Arn)
			var found map[string]string
			wait(t, "the whole ladder", func() bool {
				found = renditions(t, *channel.PlaybackUrl)
				return slices.Equal(slices.Sorted(maps.Keys(found)), slices.Sorted(maps.Keys(tt.want)))
			})
			segments := map[string][]segment{}
			wait(t, "three segments of each, one of them of all", func() bool {
				for name, address := range found {
					segments[name] = completeSegments(t, address)
					if len(segments[name]) < 3 {
						return false
					}
				}
				return ofAll(segments) != nil
			})
			checkInStep(t, segments)
			dir := t.TempDir()
			var first map[int]int
			for name, g := range ofAll(segments) {
				if name == "audio_only" {
					continue
				}
				file := save(t, filepath.Join(dir, name), g)
				if got := strings.TrimSpace(output(t, nil, "ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "stream=width,height", "-of", "csv=p=0:s=x", file)); !strings.Contains(got, tt.want[name]) {
					t.Errorf("%s has %s, want %s", name, got, tt.want[name])
				}
				shown := numbers(t, file)
				if len(shown) < 20 {
					t.Errorf("%s: segment %d has %d frames", name, g.msn, len(shown))
				}
				if first == nil {
					first = shown
				}
				checkSameFrames(t, name, shown, first)
			}
			playEveryRung(t, *channel.PlaybackUrl, found)
		})
	}
}

// checkSameFrames holds what two renditions show at the same time against
// each other. One may have half the frames.
func checkSameFrames(t *testing.T, name string, shown, first map[int]int) {
	t.Helper()
	common := 0
	for at, number := range shown {
		if want, ok := first[at]; ok {
			if common++; number != want {
				t.Errorf("%s shows frame %d at %d ms, another rendition shows %d", name, number, at, want)
			}
		}
	}
	if common < min(len(shown), len(first)) {
		t.Errorf("%s: of %d frames %d have the time of one of the %d of another rendition", name, len(shown), common, len(first))
	}
}

// A segment is an entry of a playlist.
type segment struct {
	msn                int
	uri, init          string
	date, lasts, parts string
	gap                bool
}

// completeSegments are those of a media playlist that have ended.
func completeSegments(t *testing.T, address string) (list []segment) {
	t.Helper()
	_, _, body := get(t, address)
	base, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	var g segment
	init := ""
	for line := range strings.Lines(string(body)) {
		line = strings.TrimSpace(line)
		tag, value, _ := strings.Cut(line, ":")
		switch {
		case tag == "#EXT-X-MEDIA-SEQUENCE":
			g.msn, _ = strconv.Atoi(value)
		case tag == "#EXT-X-MAP":
			u, _ := base.Parse(strings.Split(value, `"`)[1])
			init = u.String()
		case tag == "#EXT-X-PROGRAM-DATE-TIME":
			g.date = value
		case tag == "#EXT-X-PART":
			duration, _, _ := strings.Cut(value, ",")
			g.parts += duration + " "
		case tag == "#EXTINF":
			g.lasts = value
		case tag == "#EXT-X-GAP":
			g.gap = true
		case line != "" && line[0] != '#':
			u, _ := base.Parse(line)
			g.uri, g.init = u.String(), init
			list = append(list, g)
			g = segment{msn: g.msn + 1}
		}
	}
	return list
}

// ofAll is the newest segment that all renditions have; nil where there is none.
func ofAll(renditions map[string][]segment) map[string]segment {
	found := map[int]map[string]segment{}
	best := -1
	for name, list := range renditions {
		for _, g := range list {
			if g.gap {
				continue
			}
			if found[g.msn] == nil {
				found[g.msn] = map[string]segment{}
			}
			if found[g.msn][name] = g; len(found[g.msn]) == len(renditions) {
				best = max(best, g.msn)
			}
		}
	}
	return found[best]
}

// checkInStep reports whether all renditions have the same segments.
func checkInStep(t *testing.T, renditions map[string][]segment) {
	t.Helper()
	type cut struct {
		name string
		g    segment
	}
	seen := map[int]cut{}
	for name, list := range renditions {
		for _, g := range list {
			g.uri, g.init, g.gap = "", "", false
			other, ok := seen[g.msn]
			if !ok {
				seen[g.msn] = cut{name, g}
				continue
			}
			if other.g.parts == "" || g.parts == "" {
				g.parts, other.g.parts = "", "" // too old to be listed in one of them
			}
			if other.g != g {
				t.Errorf("segment %d of %s is %+v, of %s %+v", g.msn, name, g, other.name, other.g)
			}
		}
	}
}

// save fetches a segment, with its init segment in front.
func save(t *testing.T, file string, g segment) string {
	t.Helper()
	var all []byte
	for _, address := range []string{g.init, g.uri} {
		if address == "" {
			continue
		}
		status, _, body := get(t, address)
		if status != 200 {
			t.Fatalf("%s: status %d", address, status)
		}
		all = append(all, body...)
	}
	if err := os.WriteFile(file, all, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

var shownAt = regexp.MustCompile(`pts_time:([0-9.]+)`)

// numbers decodes a file and reads the number in each frame, by when it is
// shown in milliseconds.
func numbers(t *testing.T, file string) map[int]int {
	t.Helper()
	command := exec.Command("ffmpeg", "-v", "info", "-hide_banner", "-nostats", "-copyts", "-i", file, "-an",
		"-vf", "crop=iw:ih/8,scale=8:1:flags=area,format=gray,showinfo", "-fps_mode", "passthrough", "-f", "rawvideo", "-")
	var stderr strings.Builder
	command.Stderr = &stderr
	pixels, err := command.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", command, err, stderr.String())
	}
	shown := map[int]int{}
	for i, m := range shownAt.FindAllStringSubmatch(stderr.String(), -1) {
		seconds, _ := strconv.ParseFloat(m[1], 64)
		number := 0
		for bit, p := range pixels[8*i : 8*i+8] {
			if p > 128 {
				number |= 1 << bit
			}
		}
		shown[int(seconds*1000+0.5)] = number
	}
	return shown
}

// ffmpegOf is the process that transcodes for a server.
func ffmpegOf(t *testing.T, s *server) (pid int) {
	t.Helper()
	wait(t, "ffmpeg to work for the server", func() bool {
		links, _ := filepath.Glob("/proc/[0-9]*/cwd")
		for _, link := range links {
			if dir, err := os.Readlink(link); err == nil && strings.HasPrefix(dir, filepath.Join(s.data, "transcode")) {
				pid, _ = strconv.Atoi(strings.Split(link, "/")[2])
				return true
			}
		}
		return false
	})
	return pid
}

// When ffmpeg dies or hangs, the source continues, and the renditions come back in
// step.
func TestTranscoderDies(t *testing.T) {
	t.Run("killed", func(t *testing.T) { testInterruption(t, killProcess) })
	t.Run("hangs", func(t *testing.T) { testInterruption(t, suspend) })
}

func testInterruption(t *testing.T, interrupt func(pid int)) {
	s := startServer(t, "", withLadder...)
	channel, key := s.channel(awsivs.CreateChannelInput{InsecureIngest: true})
	publish(t, rtmpURL(s.rtmp, key), numberedFrames("color", "640x360", 30)...)
	stream := s.live(channel.Arn)
	var rungs map[string]string
	wait(t, "the ladder", func() bool {
		rungs = renditions(t, *channel.PlaybackUrl)
		return len(rungs) == 2 && len(completeSegments(t, rungs["360p30"])) > 1
	})
	interrupt(ffmpegOf(t, s))
	s.waitLog("transcoding failed; retrying")
	all := maps.Clone(rungs)
	all["source"] = strings.Replace(rungs["360p30"], "/360p30/", "/source/", 1)
	segments := map[string][]segment{}
	wait(t, "renditions that continue", func() bool {
		for name, address := range all {
			segments[name] = completeSegments(t, address)
		}
		_, _, body := get(t, rungs["360p30"])
		_, after, interrupted := strings.Cut(string(body), "#EXT-X-DISCONTINUITY\n")
		return interrupted && strings.Count(after, "#EXTINF") > 2
	})
	for name := range segments {
		for i := range segments[name] {
			segments[name][i].parts = "" // there are none for what was lost
		}
	}
	checkInStep(t, segments)
	if _, _, body := get(t, all["source"]); strings.Contains(string(body), "#EXT-X-DISCONTINUITY\n") || strings.Contains(string(body), "#EXT-X-GAP") {
		t.Errorf("the source was interrupted:\n%s", body)
	}
	if now := s.live(channel.Arn); *now.StreamId != *stream.StreamId {
		t.Error("the stream is another one")
	}
}

// StopStream disconnects the encoder at once, also where ffmpeg hangs and the
// end of the renditions is waited for.
func TestStopDoesNotWaitForFFmpeg(t *testing.T) {
	s := startServer(t, "", withLadder...)
	channel, key := s.channel(awsivs.CreateChannelInput{InsecureIngest: true})
	e := publish(t, rtmpURL(s.rtmp, key), slices.Concat(testInputs, testCodecs)...)
	stream := s.live(channel.Arn)
	suspend(ffmpegOf(t, s))
	stopped := make(chan error, 1)
	go func() {
		_, err := s.ivs().StopStream(t.Context(), &awsivs.StopStreamInput{ChannelArn: channel.Arn})
		stopped <- err
	}()
	e.wait()
	if line := s.log.Line("session ended"); line != "" {
		t.Errorf("the encoder was there until the session ended: %s", line)
	}
	if !strings.Contains(e.stderr.String(), "StopStream") {
		t.Errorf("the encoder is told:\n%s", e.stderr)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if events := stateChanges(s.ended(channel.Arn, stream.StreamId)); len(events) != 4 {
		t.Errorf("events %q", events)
	}
}

// An ffmpeg that does not work is given up: the source is shown, and a Stream
// Failure says so.
func TestTranscoderNeverWorks(t *testing.T) {
	script := filepath.Join(t.TempDir(), "ffmpeg")
	// It works when it is tried, and not for a broadcast.
	text := "#!/bin/sh\ncase \"$*\" in *pipe:0*) echo no more memory >&2; exit 1;; esac\nexec ffmpeg \"$@\"\n"
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	s := startServer(t, "", "--transcode", "auto", "--ffmpeg", script, "--transcode-capacity", "10")
	channel, key := s.channel(awsivs.CreateChannelInput{InsecureIngest: true})
	publish(t, rtmpURL(s.rtmp, key), slices.Concat(testInputs, testCodecs)...)
	stream := s.live(channel.Arn)
	s.waitLog("NOT TRANSCODED")
	checkSourceAlone(t, s, channel, *stream.StreamId)
	if line := s.log.Line("NOT TRANSCODED"); !strings.Contains(line, "no more memory") {
		t.Errorf("the log does not say why: %s", line)
	}
}

// An ffmpeg that does not keep up with real time is given up too, before its
// renditions are of no use.
func TestTranscoderFallsBehind(t *testing.T) {
	script := filepath.Join(t.TempDir(), "ffmpeg")
	// It reads a broadcast of 700 kbit/s at 160.
	text := "#!/bin/sh\ncase \"$*\" in *pipe:0*) ;; *) exec ffmpeg \"$@\";; esac\n" +
		"while dd bs=4000 count=5 2>/dev/null; do sleep 1; done | ffmpeg \"$@\"\n"
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	s := startServer(t, "", "--transcode", "auto", "--ffmpeg", script, "--transcode-capacity", "10")
	channel, key := s.channel(awsivs.CreateChannelInput{InsecureIngest: true})
	publish(t, rtmpURL(s.rtmp, key), slices.Concat(testInputs, testCodecs)...)
	stream := s.live(channel.Arn)
	if line := s.waitLog("NOT TRANSCODED"); !strings.Contains(line, "fell behind real time") {
		t.Errorf("the log says something else: %s", line)
	}
	checkSourceAlone(t, s, channel, *stream.StreamId)
}

// checkSourceAlone reports whether a broadcast shows its source and has a Stream
// Failure.
func checkSourceAlone(t *testing.T, s *server, channel types.Channel, id string) {
	t.Helper()
	wait(t, "the source alone", func() bool {
		return slices.Equal(slices.Collect(maps.Keys(renditions(t, *channel.PlaybackUrl))), []string{"source"})
	})
	wait(t, "a Stream Failure", func() bool {
		out, err := s.ivs().GetStreamSession(t.Context(), &awsivs.GetStreamSessionInput{ChannelArn: channel.Arn, StreamId: &id})
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(out.StreamSession.TruncatedEvents, func(e types.StreamEvent) bool { return aws.ToString(e.Name) == "Stream Failure" })
	})
}

// A machine that has enough to do shows the source of one more broadcast alone;
// with --transcode required it refuses that.
func TestTranscodeCapacity(t *testing.T) {
	for _, mode := range []string{"auto", "required"} {
		t.Run(mode, func(t *testing.T) {
			s := startServer(t, "", "--transcode", mode, "--transcode-capacity", "0.3")
			first, firstKey := s.channel(awsivs.CreateChannelInput{InsecureIngest: true})
			second, secondKey := s.channel(awsivs.CreateChannelInput{InsecureIngest: true})
			publish(t, rtmpURL(s.rtmp, firstKey), slices.Concat(testInputs, testCodecs)...) // needs 0.20
			s.live(first.Arn)
			wait(t, "the ladder of the first", func() bool { return len(renditions(t, *first.PlaybackUrl)) == 2 })
			e := publish(t, rtmpURL(s.rtmp, secondKey), slices.Concat(testInputs, testCodecs)...)
			s.waitLog("transcode capacity exceeded")
			if mode == "required" {
				e.wait()
				return
			}
			checkSourceAlone(t, s, second, *s.live(second.Arn).StreamId)
			if found := renditions(t, *first.PlaybackUrl); len(found) != 2 {
				t.Errorf("the first broadcast now has %v", found)
			}
		})
	}
}

// The child does not outlive a server that was killed.
func TestTranscoderDiesWithServer(t *testing.T) {
	s := startServer(t, "", withLadder...)
	channel, key := s.channel(awsivs.CreateChannelInput{InsecureIngest: true})
	publish(t, rtmpURL(s.rtmp, key), slices.Concat(testInputs, testCodecs)...)
	s.live(channel.Arn)
	pid := ffmpegOf(t, s)
	s.kill()
	wait(t, "the end of ffmpeg", func() bool { return gone(pid) })
}

// Settings that cannot work are said at the start.
func TestTranscodeSettings(t *testing.T) {
	for _, tt := range []struct {
		flags []string
		says  string
	}{
		{[]string{"--transcode", "auto", "--encoder", "h265_magic"}, `unknown encoder "h265_magic": choose one of libx264`},
		{[]string{"--transcode", "required", "--ffmpeg", "/nonexistent/ffmpeg"}, "transcoding needs ffmpeg"},
		{[]string{"--transcode", "required", "--encoder", "h264_vaapi"}, "transcoding is required and does not work"},
		{[]string{"--transcode", "auto", "--encoder", "h264_vaapi"}, "--encoder h264_vaapi does not work here"},
		{[]string{"--transcode", "perhaps"}, "--transcode must be one of"},
	} {
		data := filepath.Join(t.TempDir(), "data")
		command := millrace(append([]string{"serve", "--data", data, "--http", "127.0.0.1:0", "--rtmp", "127.0.0.1:0", "--rtmps", "127.0.0.1:0"}, tt.flags...)...)
		if out, err := command.CombinedOutput(); err == nil || !strings.Contains(string(out), tt.says) {
			t.Errorf("%q: %v, does not say %q:\n%s", tt.flags, err, tt.says, out)
		}
	}
	s := startServer(t, "", "--transcode", "auto", "--ffmpeg", "/nonexistent/ffmpeg")
	s.waitLog("nothing is transcoded")
	if out := output(t, []string{runMain + "=1"}, os.Args[0], "encoders"); !strings.Contains(out, "libx264") || !strings.Contains(out, "works") {
		t.Errorf("millrace encoders says\n%s", out)
	}
}

// The audio alone is offered to who asks for it, and always by ADVANCED
// channels.
func TestAudioOnly(t *testing.T) {
	s := startServer(t, "", withLadder...)
	for _, tt := range []struct {
		channel types.ChannelType
		query   string
		want    []string
	}{
		{types.ChannelTypeBasicChannelType, "", []string{"source"}},
		{types.ChannelTypeBasicChannelType, "?allow_audio_only=true", []string{"audio_only", "source"}},
		{types.ChannelTypeAdvancedSDChannelType, "", []string{"160p30", "360p30", "audio_only"}},
	} {
		channel, key := s.channel(awsivs.CreateChannelInput{InsecureIngest: true, Type: tt.channel})
		e := publish(t, rtmpURL(s.rtmp, key), slices.Concat(testInputs, testCodecs)...)
		s.live(channel.Arn)
		var found map[string]string
		wait(t, "what is offered", func() bool {
			found = renditions(t, *channel.PlaybackUrl+tt.query)
			return slices.Equal(slices.Sorted(maps.Keys(found)), tt.want)
		})
		if address := found["audio_only"]; address != "" {
			var list []segment
			wait(t, "a segment of audio", func() bool { list = completeSegments(t, address); return len(list) > 0 })
			file := save(t, filepath.Join(t.TempDir(), "audio"), list[0])
			if got := output(t, nil, "ffprobe", "-v", "error", "-show_entries", "stream=codec_name", "-of", "csv=p=0", file); !strings.Contains(got, "aac") || strings.Contains(got, "h264") {
				t.Errorf("the audio alone has %q", got)
			}
		}
		e.leave()
	}
}
