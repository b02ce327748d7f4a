package segment_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/hls/hlscheck"
	"github.com/millrace/millrace/internal/hls/hlsplayer"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/media/mediatest"
	"github.com/millrace/millrace/internal/segment"
	"github.com/millrace/millrace/internal/segment/segmenttest"
)

// A ladder is a leader, and followers that get its frames later: encoded again,
// so that frames are decoded in the order in which they are shown.
type ladder struct {
	*segmenttest.Player
	t         *testing.T
	followers []*segment.Follower
	waiting   []media.Frame // for the followers
	lag       int           // frames that wait
	down      bool          // the followers get nothing
}

func newLadder(t *testing.T, s *hls.Stream, lag int) *ladder {
	l := &ladder{Player: segmenttest.NewPlayer(t, s), t: t, lag: lag}
	l.followers = []*segment.Follower{l.follower("480p30", hls.Listing{Label: "480p30"}), l.follower("audio_only", hls.Listing{AudioOnly: true})}
	return l
}

func (l *ladder) follower(name string, listing hls.Listing) *segment.Follower {
	return segment.NewFollower(l.Stream.AddRendition(name, listing), l.Source, listing.AudioOnly)
}

func (l *ladder) play(frames []media.Frame) {
	l.t.Helper()
	for _, f := range frames {
		l.Player.Play([]media.Frame{f})
		l.waiting = append(l.waiting, f)
		l.pass(l.lag)
	}
}

// pass hands waiting frames over until so many are left.
func (l *ladder) pass(left int) {
	l.t.Helper()
	for len(l.waiting) > left {
		f := l.waiting[0]
		l.waiting = l.waiting[1:]
		if l.down {
			continue
		}
		for _, r := range l.followers {
			if err := r.WriteFrame(f); err != nil {
				l.t.Fatal(err)
			}
		}
		l.fetchFollowers()
	}
}

func (l *ladder) fetchFollowers() {
	for _, r := range l.followers {
		if r.Rendition().Stats().Segments == 0 {
			continue // an answer would have to wait for a segment
		}
		path := "/" + r.Rendition().Name() + "/playlist.m3u8"
		w := hlsplayer.Get(l.t.Context(), l.Stream, path)
		l.History = append(l.History, hlscheck.Fetch{URL: path, Status: w.Code, Header: w.Header(), Body: w.Body.Bytes()})
	}
}

// reencoded gives frames the decoding order of a stream without B-frames.
func reencoded(frames []media.Frame) []media.Frame {
	sorted := slices.Clone(frames)
	slices.SortStableFunc(sorted, func(a, b media.Frame) int { return int(a.PTS - b.PTS) })
	for i := range sorted {
		sorted[i].DTS = sorted[i].PTS
	}
	return sorted
}

// cuts is what two playlists have in common when their renditions line up:
// numbers, dates and durations of segments, and those of parts.
func (l *ladder) cuts(name string) (cuts []string) {
	l.t.Helper()
	w := hlsplayer.Get(l.t.Context(), l.Stream, "/"+name+"/playlist.m3u8")
	if w.Code != 200 {
		l.t.Fatalf("%s: status %d", name, w.Code)
	}
	for line := range strings.Lines(w.Body.String()) {
		line = strings.TrimSpace(line)
		tag, value, _ := strings.Cut(line, ":")
		switch tag {
		case "#EXT-X-MEDIA-SEQUENCE", "#EXT-X-PART-INF", "#EXT-X-TARGETDURATION", "#EXT-X-PROGRAM-DATE-TIME", "#EXTINF", "#EXT-X-GAP", "#EXT-X-DISCONTINUITY":
			cuts = append(cuts, line)
		case "#EXT-X-PART":
			duration, _, _ := strings.Cut(value, ",")
			cuts = append(cuts, "part "+duration)
		}
	}
	return cuts
}

func withoutParts(cuts []string) []string {
	return slices.DeleteFunc(cuts, func(line string) bool { return strings.HasPrefix(line, "part ") })
}

// Followers are cut as their leader is, however late they are, in both
// containers, with and without parts, B-frames and a steady distance between
// key frames.
func TestFollow(t *testing.T) {
	for _, tt := range []struct {
		name      string
		container hls.Container
		plain     bool
		recipe    mediatest.Source
	}{
		{"TS", hls.TS, false, mediatest.Source{Seconds: 12}},
		{"fMP4", hls.FMP4, false, mediatest.Source{Seconds: 12}},
		{"plain", hls.TS, true, mediatest.Source{Seconds: 12}},
		{"B-frames", hls.TS, false, mediatest.Source{GOP: 48, BFrames: 2, Seconds: 12}},
		{"B-frames at 60", hls.FMP4, false, mediatest.Source{FrameRate: "60", GOP: 90, BFrames: 2, Seconds: 12}},
		{"NTSC", hls.TS, false, mediatest.Source{FrameRate: "30000/1001", BFrames: 1, Seconds: 12}},
		{"long groups", hls.TS, false, mediatest.Source{FrameRate: "25", GOP: 250, Seconds: 21}},
		{"short groups", hls.TS, false, mediatest.Source{GOP: 10, Seconds: 12}},
	} {
		for _, lag := range []int{0, 90} {
			t.Run(fmt.Sprintf("%s, %d frames late", tt.name, lag), func(t *testing.T) {
				t.Parallel()
				s := &hls.Stream{Container: tt.container, LowLatency: !tt.plain}
				l := newLadder(t, s, 0)
				source := mediatest.Shift(tt.recipe.Frames(t), time.Second)
				source = source[:len(source)-60]
				again := reencoded(source)
				// The leader is ahead by so many frames, and by those that B-frames hold back.
				for i, f := range source {
					l.Player.Play([]media.Frame{f})
					if n := i - lag - 4; n >= 0 {
						l.waiting = append(l.waiting, again[n])
						l.pass(0)
					}
				}
				l.waiting = append(l.waiting, again[max(0, len(source)-lag-4):]...)
				l.pass(0)
				want := l.cuts("source")
				for _, name := range []string{"480p30", "audio_only"} {
					got := l.cuts(name)
					// The leader may have ended one more part, on a prediction.
					if n := len(want) - len(got); n < 0 || n > 1 || !slices.Equal(got, want[:len(got)]) {
						t.Errorf("%s has\n%s\nits leader\n%s", name, strings.Join(got, "\n"), strings.Join(want, "\n"))
					}
				}
				l.Report(t, "")
			})
		}
	}
}

// A follower that was interrupted continues in step, behind a gap and a
// discontinuity; its leader shows nothing of it.
func TestFollowInterrupted(t *testing.T) {
	s := &hls.Stream{LowLatency: true}
	l := newLadder(t, s, 5)
	source := mediatest.Shift(mediatest.Source{Seconds: 20}.Frames(t), time.Second)
	at := func(d time.Duration) int {
		return slices.IndexFunc(source, func(f media.Frame) bool { return f.DTS >= time.Second+d })
	}
	l.play(source[:at(5*time.Second)])
	l.down = true
	l.play(source[at(5*time.Second):at(11*time.Second)])
	if l.followers[0].Rendition().Playing() {
		t.Error("a follower that is three segments behind is playing")
	}
	if list := string(s.Multivariant("")); strings.Contains(list, "480p30") || !strings.Contains(list, "source/") {
		t.Errorf("the multivariant playlist lists what does not play:\n%s", list)
	}
	l.down = false
	for _, r := range l.followers {
		r.Discontinuity()
	}
	l.play(source[at(11*time.Second):at(18*time.Second)])
	l.pass(0)
	want := withoutParts(l.cuts("source"))
	for _, name := range []string{"480p30", "audio_only"} {
		got := withoutParts(l.cuts(name))
		gaps, breaks := 0, 0
		got = slices.DeleteFunc(got, func(line string) bool {
			gaps += strings.Count(line, "#EXT-X-GAP")
			breaks += strings.Count(line, "#EXT-X-DISCONTINUITY")
			return line == "#EXT-X-GAP" || line == "#EXT-X-DISCONTINUITY"
		})
		// Segments 3 and 4 have nothing, and 5 has no beginning.
		if gaps != 3 || breaks != 1 {
			t.Errorf("%s: %d gaps and %d discontinuities, want 3 and 1:\n%s", name, gaps, breaks, strings.Join(l.cuts(name), "\n"))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s has\n%s\nits leader\n%s", name, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if w := hlsplayer.Get(t.Context(), s, "/"+name+"/4.ts"); w.Code != 404 {
			t.Errorf("%s: a gap answers with %d", name, w.Code)
		}
	}
	if !l.followers[0].Rendition().Playing() {
		t.Error("the follower does not play again")
	}
}

// When the leader restarts, so do its followers.
func TestFollowDiscontinuity(t *testing.T) {
	for _, container := range []hls.Container{hls.TS, hls.FMP4} {
		s := &hls.Stream{LowLatency: true, Container: container}
		l := newLadder(t, s, 5)
		l.play(mediatest.Shift(mediatest.Source{Seconds: 6}.Frames(t), time.Second))
		l.play(mediatest.Shift(mediatest.Source{GOP: 45, Seconds: 8, Size: "176x144"}.Frames(t), 16*time.Second))
		l.pass(0)
		want := withoutParts(l.cuts("source"))
		for _, name := range []string{"480p30", "audio_only"} {
			if got := withoutParts(l.cuts(name)); !slices.Equal(got, want) || !slices.Contains(got, "#EXT-X-DISCONTINUITY") {
				t.Errorf("%s has\n%s\nits leader\n%s", name, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		}
	}
}

// What is selected is listed, the fallback rendition where nothing else plays, and
// nothing that was removed.
func TestSelect(t *testing.T) {
	s := &hls.Stream{LowLatency: true}
	l := newLadder(t, s, 0)
	l.play(mediatest.Shift(mediatest.Source{Seconds: 6, Size: "640x480"}.Frames(t), time.Second))
	expect := func(sel hls.Selection, want ...string) {
		t.Helper()
		var got []string
		for line := range strings.Lines(string(s.Select("", sel))) {
			if name, ok := strings.CutSuffix(strings.TrimSpace(line), "/playlist.m3u8"); ok {
				got = append(got, name)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%+v lists %q, want %q", sel, got, want)
		}
	}
	expect(hls.Selection{}, "source", "480p30")
	expect(hls.Selection{AudioOnly: true}, "source", "480p30", "audio_only")
	expect(hls.Selection{MaxLines: 480}, "source", "480p30")
	expect(hls.Selection{MaxLines: 360})
	expect(hls.Selection{MaxLines: 360, AudioOnly: true}, "audio_only")
	l.Source.Rendition().SetFallback(true)
	expect(hls.Selection{}, "480p30")
	l.followers[0].Rendition().Remove()
	expect(hls.Selection{}, "source")
	expect(hls.Selection{AudioOnly: true}, "source", "audio_only")
	if w := hlsplayer.Get(t.Context(), s, "/480p30/playlist.m3u8"); w.Code != 404 {
		t.Errorf("a removed rendition answers with %d", w.Code)
	}
	if text := string(s.Select("", hls.Selection{AudioOnly: true})); !strings.Contains(text, `GROUP-ID="audio_only",NAME="audio_only"`) {
		t.Errorf("the multivariant playlist is\n%s", text)
	}
}

// The memory for media is that of all renditions together, and what goes first
// is the oldest segment of each.
func TestFollowersShareMemory(t *testing.T) {
	s := &hls.Stream{LowLatency: true, MaxBytes: 800_000}
	defer s.Release()
	source := segment.NewLeader(s.AddRendition("source", hls.Listing{}))
	low := segment.NewFollower(s.AddRendition("480p30", hls.Listing{}), source, false)
	audio := segment.NewFollower(s.AddRendition("audio_only", hls.Listing{AudioOnly: true}), source, true)
	for _, f := range mediatest.Shift(mediatest.Repeat(mediatest.Source{Seconds: 20}.Frames(t), 20*time.Second, 3), time.Second) {
		for _, r := range []media.Writer{source, low, audio} {
			if err := r.WriteFrame(f); err != nil {
				t.Fatal(err)
			}
		}
	}
	have, oldest := int64(0), map[string]int{}
	for _, name := range []string{"source", "480p30", "audio_only"} {
		for msn := int(source.Rendition().Stats().Segments) - 1; msn >= 0; msn-- { // the next one would be waited for
			if w := hlsplayer.Get(t.Context(), s, fmt.Sprintf("/%s/%d.ts", name, msn)); w.Code == 200 {
				have += int64(w.Body.Len())
				oldest[name] = msn
			}
		}
	}
	if have > s.MaxBytes || have < s.MaxBytes/2 {
		t.Errorf("%d bytes of media are kept, at most %d may", have, s.MaxBytes)
	}
	if oldest["source"] == 0 || oldest["480p30"] != oldest["source"] || oldest["audio_only"] != oldest["source"] {
		t.Errorf("the oldest segments are %v", oldest)
	}
}

// Once a frame has captions, all variants say so: either all have the group or
// none (RFC 8216, 4.3.4.2).
func TestCaptionsAreListed(t *testing.T) {
	s := &hls.Stream{LowLatency: true}
	l := newLadder(t, s, 0)
	frames := mediatest.Shift(mediatest.Source{Seconds: 8}.Frames(t), time.Second)
	half := len(frames) / 2
	l.play(frames[:half])
	if text := string(s.Multivariant("")); strings.Count(text, "CLOSED-CAPTIONS=NONE") != 2 {
		t.Errorf("without captions:\n%s", text)
	}
	for i := range frames[half:] {
		if f := &frames[half+i]; f.Track.IsVideo() {
			f.Data = slices.Concat(mediatest.Caption(mediatest.NoCaption), f.Data)
		}
	}
	l.play(frames[half:])
	text := s.Multivariant("")
	if strings.Count(string(text), `INSTREAM-ID="CC1"`) != 1 || strings.Count(string(text), `CLOSED-CAPTIONS="captions"`) != 2 {
		t.Errorf("with captions:\n%s", text)
	}
	for _, problem := range hlscheck.Check([]hlscheck.Fetch{{URL: "/index.m3u8", Status: 200, Body: text}}) {
		if problem.Rule == "media" || problem.Rule == "stream-inf" || problem.Rule == "syntax" { // there are no headers
			t.Error(problem)
		}
	}
}

// What is listed of a follower's bit rate is at least what its encoder aims at,
// and its names are those of its rung when it has come again. The source is
// named by the frame that holds it.
func TestFollowerIsListed(t *testing.T) {
	s := &hls.Stream{LowLatency: true}
	defer s.Release()
	l := newLadder(t, s, 0)
	again := l.follower("720p30-2", hls.Listing{Label: "720p30", Bitrate: 2_400_000})
	l.followers = append(l.followers, again)
	l.play(mediatest.Shift(mediatest.Source{Seconds: 4, Size: "64x28"}.Frames(t), time.Second))
	l.pass(0)
	multivariant := string(s.Multivariant(""))
	for _, want := range []string{`GROUP-ID="36p30",NAME="36p",`, `GROUP-ID="720p30",NAME="720p",`, "BANDWIDTH=2400000,", `VIDEO="720p30",CLOSED-CAPTIONS=NONE` + "\n720p30-2/playlist.m3u8\n"} {
		if !strings.Contains(multivariant, want) {
			t.Errorf("no %s in\n%s", want, multivariant)
		}
	}
}

// Who watches the renditions learns when one comes, plays, stops to and goes.
func TestRenditionsChange(t *testing.T) {
	s := &hls.Stream{LowLatency: true}
	l := newLadder(t, s, 0)
	source := mediatest.Shift(mediatest.Source{Seconds: 20}.Frames(t), time.Second)
	expect := func(what string, change func(), want map[string]bool) {
		t.Helper()
		_, changed := s.Renditions()
		change()
		select {
		case <-changed:
		default:
			t.Errorf("%s: nothing was told", what)
		}
		list, _ := s.Renditions()
		for _, v := range list {
			if playing, ok := want[v.Name()]; !ok || playing != v.Playing {
				t.Errorf("%s: %s is there, playing %v", what, v.Name(), v.Playing)
			}
		}
		if len(list) != len(want) {
			t.Errorf("%s: %d renditions, want %d", what, len(list), len(want))
		}
	}
	at := func(d time.Duration) []media.Frame {
		return mediatest.Keep(source, func(f media.Frame) bool { return f.DTS < time.Second+d })
	}
	expect("the first part", func() { l.play(at(5 * time.Second)) }, map[string]bool{"source": true, "480p30": true, "audio_only": true})
	list, changed := s.Renditions()
	if v := list[1]; v.Label != "480p30" || v.Width != 160 || v.Height != 90 || v.FrameRate != 30 || v.Codecs == "" || v.Bandwidth < v.AverageBandwidth || v.AverageBandwidth < 10_000 {
		t.Errorf("attributes %+v", v)
	}
	l.play(at(6 * time.Second)[len(at(5*time.Second)):])
	select {
	case <-changed:
		t.Error("a change was told while nothing changed")
	default:
	}
	l.down = true
	expect("followers stand still", func() { l.play(source[len(at(6*time.Second)):]) }, map[string]bool{"source": true, "480p30": false, "audio_only": false})
	expect("one is removed", l.followers[0].Rendition().Remove, map[string]bool{"source": true, "audio_only": false})
	expect("all is over", s.Release, map[string]bool{"source": false, "audio_only": false})
}
