package main

import (
	"context"
	"encoding/json"
	"fmt"
	"image/jpeg"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"
	"github.com/aws/aws-sdk-go-v2/service/ivs/types"

	"github.com/millrace/millrace/internal/media"
)

// recordingConfiguration creates one, and waits until it is ACTIVE.
func (s *server) recordingConfiguration(in awsivs.CreateRecordingConfigurationInput) (arn *string) {
	s.t.Helper()
	if in.DestinationConfiguration == nil {
		in.DestinationConfiguration = &types.DestinationConfiguration{S3: &types.S3DestinationConfiguration{BucketName: aws.String("recordings")}}
	}
	made, err := s.ivs().CreateRecordingConfiguration(s.t.Context(), &in)
	if err != nil {
		s.t.Fatal(err)
	}
	arn = made.RecordingConfiguration.Arn
	wait(s.t, "the recording configuration", func() bool {
		out, err := s.ivs().GetRecordingConfiguration(s.t.Context(), &awsivs.GetRecordingConfigurationInput{Arn: arn})
		return err == nil && out.RecordingConfiguration.State == types.RecordingConfigurationStateActive
	})
	return arn
}

// recorded waits for an event of a session's recording, and returns all of the
// session's events, oldest first.
func (s *server) recorded(arn, streamID *string, name string) (events []string) {
	s.t.Helper()
	wait(s.t, name, func() bool {
		out, err := s.ivs().GetStreamSession(s.t.Context(), &awsivs.GetStreamSessionInput{ChannelArn: arn, StreamId: streamID})
		if err != nil {
			s.t.Fatal(err)
		}
		events = nil
		for _, e := range slices.Backward(out.StreamSession.TruncatedEvents) {
			events = append(events, *e.Name)
		}
		return slices.Contains(events, name)
	})
	return events
}

// recordingFolders are where recordings are in a bucket.
func (s *server) recordingFolders(bucket string) []string {
	s.t.Helper()
	folders, err := filepath.Glob(filepath.Join(s.data, "buckets", bucket, "ivs/v1/*/*/*/*/*/*/*/*"))
	if err != nil {
		s.t.Fatal(err)
	}
	return folders
}

// recordingEnded holds a part of recording-ended.json.
type recordingEnded struct {
	Media struct {
		HLS struct {
			DurationMS int64 `json:"duration_ms"`
			Renditions []struct {
				Path, Playlist string
				ByteRange      string `json:"byte_range_playlist"`
				Width          int    `json:"resolution_width"`
			}
		}
		Thumbnails struct {
			Width int `json:"resolution_width"`
		}
	}
}

func readEnded(t *testing.T, folder string) (ended recordingEnded) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(folder, "events/recording-ended.json"))
	if err == nil {
		err = json.Unmarshal(b, &ended)
	}
	if err != nil {
		t.Fatal(err)
	}
	return ended
}

// A transcoded stream is recorded with all its renditions and thumbnails, and
// ffmpeg plays each playlist.
func TestRecordTranscoded(t *testing.T) {
	s := startServer(t, "", append([]string{"--metrics-per-channel"}, withLadder...)...)
	arn := s.recordingConfiguration(awsivs.CreateRecordingConfigurationInput{ThumbnailConfiguration: &types.ThumbnailConfiguration{
		RecordingMode: types.RecordingModeInterval, TargetIntervalSeconds: aws.Int64(1), Resolution: types.ThumbnailConfigurationResolutionLowestResolution,
		Storage: []types.ThumbnailConfigurationStorage{types.ThumbnailConfigurationStorageSequential, types.ThumbnailConfigurationStorageLatest}}})
	channel, key := s.channel(awsivs.CreateChannelInput{Name: aws.String("recorded"), InsecureIngest: true, RecordingConfigurationArn: arn})
	e := publish(t, rtmpURL(s.rtmp, key), slices.Concat(testInputs, testCodecs)...)
	stream := s.live(channel.Arn)
	s.recorded(channel.Arn, stream.StreamId, "Recording Start")
	_, _, figures := get(t, s.api+"/metrics")
	if !regexp.MustCompile(`(?m)^millrace_channel_recorded_seconds_total\{channel="` + *channel.Arn + `"\} [1-9]`).Match(figures) {
		t.Errorf("RecordedTime of the channel is not among the metrics:\n%s", figures)
	}
	s.probeGrowing()
	e.leave()
	left := time.Now()
	events := s.recorded(channel.Arn, stream.StreamId, "Recording End")
	t.Logf("Recording End %v after the encoder left; events: %q", time.Since(left).Round(time.Millisecond), events)
	folders := s.recordingFolders("recordings")
	if len(folders) != 1 {
		t.Fatalf("recordings in the bucket: %q", folders)
	}
	ended := readEnded(t, folders[0])
	if n := len(ended.Media.HLS.Renditions); n < 2 || ended.Media.Thumbnails.Width != 284 {
		t.Errorf("recording-ended.json: %+v", ended)
	}
	for _, r := range ended.Media.HLS.Renditions {
		for _, name := range []string{r.Playlist, r.ByteRange} {
			file := filepath.Join(folders[0], "media/hls", r.Path, name)
			out, err := exec.CommandContext(t.Context(), "ffprobe", "-v", "error", "-count_packets", "-select_streams", "v",
				"-show_entries", "stream=nb_read_packets", "-of", "csv=p=0", file).CombinedOutput()
			frames, _ := strconv.Atoi(strings.Fields(string(out) + " x")[0]) // 0 where ffprobe complains
			if want := ended.Media.HLS.DurationMS * 30 / 1000; err != nil || frames == 0 || int64(frames) < want-15 || int64(frames) > want+15 {
				t.Errorf("%s/%s has %d frames, want about %d: %v\n%s", r.Path, name, frames, want, err, out)
			}
		}
	}
	thumbs, err := filepath.Glob(filepath.Join(folders[0], "media/thumbnails/thumb*.jpg"))
	if want := int(ended.Media.HLS.DurationMS / 1000); err != nil || len(thumbs) < want-1 || len(thumbs) > want+1 {
		t.Errorf("%d thumbnails of %d s, one each second, %v", len(thumbs), want, err)
	}
	f, err := os.Open(filepath.Join(folders[0], "media/latest_thumbnail/thumb.jpg"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if size, err := jpeg.DecodeConfig(f); err != nil || size.Width != 284 {
		t.Errorf("the latest thumbnail is %v, %v", size, err)
	}
	playlist := s.checkListed(*channel.Arn, *stream.StreamId)
	browser := openBrowser(t, switchingServer(t).URL+"/#"+s.api+playlist)
	defer browser.explain()
	seconds := float64(ended.Media.HLS.DurationMS) / 1000
	browser.until(fmt.Sprintf(`window.hls && hls.levels.length == 2 && video.currentTime > 0 && Math.abs(video.duration - %f) < 0.5`, seconds))
	browser.until(fmt.Sprintf(`video.currentTime = %f, true`, seconds-2))
	browser.until(`video.ended || video.currentTime > video.duration - 0.3`)
	browser.noErrors()
	browser.open(switchingServer(t).URL + "/#" + s.api + strings.Replace(playlist, "master.m3u8", "byte-range-multivariant.m3u8", 1))
	browser.until(fmt.Sprintf(`window.hls && hls.levels.length == 2 && video.currentTime > 0 && Math.abs(video.duration - %f) < 0.5`, seconds))
	browser.until(fmt.Sprintf(`video.currentTime = %f, true`, seconds-2))
	browser.until(`video.ended || video.currentTime > video.duration - 0.3`)
	browser.noErrors()
	others := servePlayers(t)
	for _, list := range []string{"master.m3u8", "byte-range-multivariant.m3u8"} {
		browser.open(others.URL + "/shaka?" + list + "#" + s.api + strings.Replace(playlist, "master.m3u8", list, 1))
		browser.until(fmt.Sprintf(`video.currentTime > 0 && Math.abs(video.duration - %f) < 0.5`, seconds))
		browser.until(fmt.Sprintf(`video.currentTime = %f, true`, seconds-2))
		browser.until(`video.ended || video.currentTime > video.duration - 0.3`)
		browser.until(`errors.length == 0`)
	}
	s.checkConsole(browser, *channel.Arn, seconds)
}

// probeGrowing has ffprobe look at every playlist of the recordings, which grow.
func (s *server) probeGrowing() {
	s.t.Helper()
	for _, folder := range s.recordingFolders("recordings") {
		lists, err := filepath.Glob(filepath.Join(folder, "media/hls/*/*.m3u8"))
		if err != nil || len(lists) == 0 {
			s.t.Errorf("playlists of %s: %q, %v", folder, lists, err)
		}
		for _, list := range lists {
			out, err := exec.CommandContext(s.t.Context(), "ffprobe", "-v", "error", "-show_entries", "stream=codec_name", "-of", "csv=p=0", list).CombinedOutput()
			if got := strings.Fields(string(out)); err != nil || !slices.Contains(got, "h264") || !slices.Contains(got, "aac") {
				s.t.Errorf("ffprobe finds %q in %s, %v", got, list, err)
			}
		}
	}
}

// checkConsole plays the only recording of a channel, of so many seconds, in the
// console, looks at a thumbnail over the seek bar, and downloads the recording.
func (s *server) checkConsole(b *browser, arn string, seconds float64) {
	s.t.Helper()
	b.open(s.consoleLink(arn))
	b.until(`document.querySelectorAll('.recordings li').length == 1`)
	if shown := b.texts(`[document.querySelector('.recordings li').innerText]`)[0]; !strings.Contains(shown, "360p30, 160p30") || !strings.Contains(shown, fmt.Sprintf("%.0f s · ", math.Round(seconds))) {
		s.t.Errorf("the console lists the recording as %q", shown)
	}
	b.press(`.recordings button`)
	const video = `document.querySelector('dialog.recording video')`
	b.until(fmt.Sprintf(video+` && `+video+`.currentTime > 0 && Math.abs(`+video+`.duration - %f) < 0.5`, seconds))
	b.until(`document.querySelectorAll('dialog.recording option').length == 3`)
	const bar = `document.querySelector('.seek-bar input')`
	point := func(share float64) {
		b.until(fmt.Sprintf(`(r => `+bar+`.dispatchEvent(new PointerEvent('pointermove', { bubbles: true, clientX: r.left + %f * r.width })))(`+bar+`.getBoundingClientRect())`, share))
	}
	const preview = `document.querySelector('.seek-preview img')`
	point(0.01)
	b.until(preview + ` && ` + preview + `.src.endsWith('/thumb0.jpg') && ` + preview + `.naturalWidth == 284`)
	point(0.7)
	b.until(preview + ` && /thumb[1-9][0-9]*.jpg$/.test(` + preview + `.src) && ` + preview + `.naturalWidth == 284`)
	b.look("console-recording")
	b.until(fmt.Sprintf(`(`+bar+`.value = %f, `+bar+`.dispatchEvent(new Event('input', { bubbles: true })))`, seconds-2))
	b.until(fmt.Sprintf(video+`.currentTime > %f && (`+video+`.play(), true)`, seconds-2.5)) // it may have ended before
	b.until(fmt.Sprintf(video+`.ended || `+video+`.currentTime > %f`, seconds-1))
	download := b.texts(`[document.querySelector('dialog.recording a[href$="=160p30"]').href]`)[0]
	status, header, body := get(s.t, download)
	if status != http.StatusOK || !strings.HasPrefix(header.Get("Content-Disposition"), "attachment") || len(body) < 10_000 {
		s.t.Errorf("the console's download is %d, %v, %d bytes", status, header, len(body))
	}
	b.press(`dialog.recording .card-head button`)
	b.until(`!document.querySelector('dialog.recording')`)
	b.look("console-recordings")
	b.clean()
}

// A listing is a recording as the server lists it.
type listing struct {
	State                                   string
	StreamIDs                               []string `json:"streamIds"`
	DurationMS                              int64    `json:"durationMs"`
	Bytes                                   int64
	PlaylistURL, DownloadURL, ThumbnailsURL string
}

// listed asks for the recordings of a channel, which has one.
func (s *server) listed(arn string) listing {
	s.t.Helper()
	var out struct{ Recordings []listing }
	answer := s.call("GET", "/_millrace/channels/"+arn[strings.LastIndexByte(arn, '/')+1:]+"/recordings")
	defer answer.Body.Close()
	if err := json.NewDecoder(answer.Body).Decode(&out); err != nil || len(out.Recordings) != 1 {
		s.t.Fatalf("recordings: %s, %v, %v", answer.Status, out, err)
	}
	return out.Recordings[0]
}

// checkListed reads a recording from the addresses under which it is listed.
func (s *server) checkListed(arn, streamID string) (playlist string) {
	s.t.Helper()
	r := s.listed(arn)
	if r.State != "ENDED" || !slices.Equal(r.StreamIDs, []string{streamID}) || r.DurationMS < 5000 || r.Bytes < 100_000 {
		s.t.Errorf("the recording is listed as %+v", r)
	}
	status, header, body := get(s.t, s.api+r.PlaylistURL)
	if status != http.StatusOK || header.Get("Content-Type") != "application/vnd.apple.mpegurl" || !strings.Contains(string(body), "360p30/playlist.m3u8") {
		s.t.Errorf("the playlist is %d %v\n%s", status, header, body)
	}
	unsigned := regexp.MustCompile(`/~[^/]*`).ReplaceAllString(r.PlaylistURL, "")
	forged := strings.Replace(r.PlaylistURL, "/~", "/~1", 1)
	for _, url := range []string{unsigned, forged} {
		if status, _, _ := get(s.t, s.api+url); status != http.StatusForbidden {
			s.t.Errorf("%s answers %d", url, status)
		}
	}
	if status, header, _ := get(s.t, s.api+r.ThumbnailsURL+"thumb0.jpg"); status != http.StatusOK || header.Get("Content-Type") != "image/jpeg" {
		s.t.Errorf("a thumbnail is %d %v", status, header)
	}
	file := filepath.Join(s.t.TempDir(), "download.mp4")
	status, _, body = get(s.t, s.api+r.DownloadURL+"?rendition=160p30")
	if err := os.WriteFile(file, body, 0o600); err != nil || status != http.StatusOK {
		s.t.Fatalf("the download is %d, %v", status, err)
	}
	probed, err := exec.CommandContext(s.t.Context(), "ffprobe", "-v", "error", "-show_entries", "stream=codec_name,height", "-show_entries", "format=duration", "-of", "default=nk=1:nw=1", file).CombinedOutput()
	fields := strings.Fields(string(probed))
	if err != nil || !slices.Contains(fields, "160") || !slices.Contains(fields, "aac") {
		s.t.Errorf("the download is %q, %v", fields, err)
	}
	if seconds, err := strconv.ParseFloat(fields[len(fields)-1], 64); err != nil || math.Abs(seconds*1000-float64(r.DurationMS)) > 500 {
		s.t.Errorf("the download lasts %v s, the recording %d ms, %v", seconds, r.DurationMS, err)
	}
	return r.PlaylistURL
}

// A logbook notes the stamps of the frames that a source hands out.
type logbook struct {
	source
	mu     sync.Mutex
	stamps []int64 // guarded by mu; Unix nanoseconds
}

func (l *logbook) ReadFrame() (media.Frame, error) {
	f, err := l.source.ReadFrame()
	if err == nil && f.Track.IsVideo() {
		if at, _, ok := media.NextStamp(f.Data); ok {
			l.mu.Lock()
			l.stamps = append(l.stamps, at.UnixNano())
			l.mu.Unlock()
		}
	}
	return f, err
}

func (l *logbook) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.stamps)
}

// stampsOf are the times that the publisher has put into the frames of a recorded
// rendition, in the order of its playlist.
func stampsOf(t *testing.T, folder, playlist string) (stamps []int64) {
	t.Helper()
	gap := false // what a kill has cut off has a name, and no file
	for line := range strings.Lines(playlist) {
		name := strings.TrimSpace(line)
		if gap = gap || name == "#EXT-X-GAP"; name == "" || name[0] == '#' {
			continue
		}
		if gap {
			gap = false
			continue
		}
		file, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		for {
			at, rest, ok := media.NextStamp(file)
			if !ok {
				break
			}
			stamps, file = append(stamps, at.UnixNano()), rest
		}
	}
	return stamps
}

// A stream that another encoder takes over and that ends with a kill of the
// server, and the one that follows after the restart, are one recording: what
// viewers saw of each encoder is there in order and once, the takeover has left
// no trace, and nothing of the last stream is missing.
func TestRecordTakeoverAndKill(t *testing.T) {
	t.Parallel() // it mostly waits
	s := startServer(t, "")
	arn := s.recordingConfiguration(awsivs.CreateRecordingConfigurationInput{RecordingReconnectWindowSeconds: 3,
		ThumbnailConfiguration: &types.ThumbnailConfiguration{RecordingMode: types.RecordingModeDisabled}})
	channel, key := s.channel(awsivs.CreateChannelInput{InsecureIngest: true, Type: types.ChannelTypeBasicChannelType, RecordingConfigurationArn: arn, ContainerFormat: types.ContainerFormatFragmentedMP4})
	clip, err := recordTestPattern(t.Context(), testPattern{Size: "160x90", FPS: 30, Bitrate: 100})
	if err != nil {
		t.Fatal(err)
	}
	publish := func(query string) (log *logbook, leave func()) {
		ctx, cancel := context.WithCancel(t.Context())
		log = &logbook{source: &paced{source: clip.loop()}}
		done := make(chan error, 1)
		go func() { done <- publishTo(ctx, rtmpURL(s.rtmp, key)+query, log, nil) }()
		return log, func() { cancel(); <-done }
	}
	first, leaveFirst := publish("")
	one := s.live(channel.Arn)
	wait(t, "three seconds of the first encoder", func() bool { return first.count() > 90 })
	second, leaveSecond := publish("?priority=1")
	s.recorded(channel.Arn, one.StreamId, "Stream Takeover")
	leaveFirst()
	s.recorded(channel.Arn, one.StreamId, "Recording Start")
	s.probeGrowing()
	browser := openBrowser(t, switchingServer(t).URL+"/#"+s.api+s.listed(*channel.Arn).PlaylistURL) // while it grows
	defer browser.explain()
	browser.until(`window.hls && hls.levels.length == 1 && video.currentTime > 1`)
	browser.noErrors()
	browser.open(servePlayers(t).URL + "/shaka#" + s.api + s.listed(*channel.Arn).PlaylistURL)
	browser.until(`video.currentTime > 1`)
	browser.until(`errors.length == 0`)
	browser.open(switchingServer(t).URL + "/#" + s.api + strings.Replace(s.listed(*channel.Arn).PlaylistURL, "master.m3u8", "byte-range-multivariant.m3u8", 1))
	browser.until(`window.hls && hls.levels.length == 1 && video.currentTime > 1`)
	browser.noErrors()
	browser.open("about:blank") // what it would miss is no error
	s.kill()
	leaveSecond()

	s = startServer(t, s.data)
	third, leaveThird := publish("")
	two := s.live(channel.Arn)
	wait(t, "three seconds of the third encoder", func() bool { return third.count() > 90 })
	leaveThird()
	s.recorded(channel.Arn, two.StreamId, "Recording End")

	folders := s.recordingFolders("recordings")
	if len(folders) != 1 {
		t.Fatalf("%d recordings, want one: %q", len(folders), folders)
	}
	playlist, err := os.ReadFile(filepath.Join(folders[0], "media/hls/90p30/playlist.m3u8"))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(playlist), "#EXT-X-DISCONTINUITY\n"); n != 1 || !strings.HasSuffix(string(playlist), "#EXT-X-ENDLIST\n") {
		t.Errorf("%d discontinuities, want one for the restart:\n%s", n, playlist)
	}
	recorded := stampsOf(t, filepath.Join(folders[0], "media/hls/90p30"), string(playlist))
	parts := []int{0, 0, 0}
	for i, at := range recorded {
		if i > 0 && at <= recorded[i-1] {
			t.Fatalf("frame %d is older than the one before it, or the same", i)
		}
		for e, log := range []*logbook{first, second, third} {
			if slices.Contains(log.stamps, at) {
				parts[e]++
			}
		}
	}
	if last := third.stamps[:len(third.stamps)-1]; !slices.Equal(recorded[len(recorded)-len(last):], last) && !slices.Equal(recorded[len(recorded)-len(third.stamps):], third.stamps) {
		t.Errorf("of the third encoder %d frames are recorded, it sent %d", parts[2], len(third.stamps))
	}
	if parts[0] < 60 || parts[1] < 60 || parts[0]+parts[1]+parts[2] != len(recorded) {
		t.Errorf("%d frames are recorded: %v of each encoder", len(recorded), parts)
	}
}
