package hls

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/media"
)

// captionsTag is the one track of captions that IVS has, in the video of all
// renditions.
const captionsTag = `#EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID="captions",NAME="CC1",AUTOSELECT=YES,DEFAULT=NO,INSTREAM-ID="CC1"` + "\n"

// A Variant describes a rendition: the attributes with which the multivariant playlist
// lists it.
type Variant struct {
	*Rendition
	Label                       string // GROUP-ID, such as "720p30"
	Bandwidth, AverageBandwidth int64  // bits a second, measured; no less than its encoder aims at
	Codecs                      string // CODECS (RFC 6381); "" before the first media
	Width, Height               int    // 0 without video
	FrameRate                   float64
	AudioOnly                   bool // it has no video by design
	Captions                    bool // CEA-608 in the video
	Playing                     bool // it has media and keeps up with its leader
	Fallback                    bool // listed only while no other one with video is
}

// Renditions returns all renditions, the first one first, and a channel that is closed
// when a rendition is added or removed, starts or stops playing, or has other tracks.
func (s *Stream) Renditions() (list []Variant, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.renditions {
		list = append(list, r.variantLocked())
	}
	if s.renditionsChanged == nil {
		s.renditionsChanged = make(chan struct{})
	}
	return list, s.renditionsChanged
}

func (r *Rendition) variantLocked() Variant {
	v := Variant{Rendition: r, Label: cmp.Or(r.listing.Label, r.name), AudioOnly: r.listing.AudioOnly, Captions: r.details.Captions, Playing: r.playingLocked(), Fallback: r.fallback}
	v.Bandwidth, v.AverageBandwidth = r.window.bitRates()
	v.Bandwidth = max(v.Bandwidth, int64(r.listing.Bitrate))
	if r.init == nil {
		return v
	}
	var codecs []string
	for _, t := range []*media.Track{r.init.Video, r.init.Audio} {
		if t != nil {
			codecs = append(codecs, t.RFC6381())
		}
	}
	v.Codecs = strings.Join(codecs, ",")
	if t := r.init.Video; t != nil {
		v.Width, v.Height, v.FrameRate = t.Video.Width, t.Video.Height, r.details.frameRate()
		if r.listing.Label == "" {
			v.Label = fmt.Sprintf("%dp%d", media.Lines(v.Width, v.Height), int(math.Round(v.FrameRate)))
		}
	}
	return v
}

// renditionsChangedLocked wakes those that wait for a change of the renditions.
func (s *Stream) renditionsChangedLocked() {
	s.anyChangedLocked()
	if s.renditionsChanged != nil {
		close(s.renditionsChanged)
		s.renditionsChanged = nil
	}
}

// notePlayingLocked looks which renditions play after media was added.
func (s *Stream) notePlayingLocked() {
	for _, r := range s.renditions {
		if p := r.playingLocked(); p != r.plays {
			r.plays = p
			s.renditionsChangedLocked()
		}
	}
}

// A Selection says which renditions a viewer may have. The zero value selects all that
// have video.
type Selection struct {
	MaxLines  int  // by media.Lines; 0 means any
	AudioOnly bool // also those without video
	Plain     bool // for a player that does not use parts: URIs get the query parts=off
}

func (s Selection) allows(v Variant) bool {
	if v.Height == 0 {
		return s.AudioOnly || !v.listing.AudioOnly
	}
	return s.MaxLines == 0 || media.Lines(v.Width, v.Height) <= s.MaxLines
}

// Lines returns how many lines the video of the rendition with that name has, counted as
// by media.Lines; 0 if there is no such rendition or it has no video.
func (s *Stream) Lines(rendition string) int {
	r := s.rendition(rendition)
	if r == nil {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.init == nil || r.init.Video == nil {
		return 0
	}
	return media.Lines(r.init.Video.Video.Width, r.init.Video.Video.Height)
}

// Multivariant returns the multivariant playlist with each rendition that plays and has
// video; see Select.
func (s *Stream) Multivariant(prefix string) []byte { return s.Select(prefix, Selection{}) }

// Select returns the multivariant playlist of the selected renditions that play, with
// measured bit rates; nil while there are none. prefix is the relative path in front of
// "<rendition>/playlist.m3u8".
func (s *Stream) Select(prefix string, sel Selection) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.isReady || s.released {
		return nil
	}
	var b strings.Builder
	independent := true
	groups := map[string]bool{}
	list := s.listedLocked(sel)
	captions := slices.ContainsFunc(list, func(v Variant) bool { return v.Captions })
	for _, v := range list {
		independent = independent && v.window.independent()
		v.render(&b, prefix, sel.Plain, groups, captions)
	}
	if b.Len() == 0 {
		return nil
	}
	head := "#EXTM3U\n#EXT-X-VERSION:6\n"
	if independent {
		head += "#EXT-X-INDEPENDENT-SEGMENTS\n"
	}
	if captions {
		head += captionsTag
	}
	return []byte(head + b.String())
}

// listedLocked are the renditions of a selection that play, and the fallback one
// where there is no other with video.
func (s *Stream) listedLocked(sel Selection) (list []Variant) {
	var fallback []Variant
	video := false
	for _, r := range s.renditions {
		switch v := r.variantLocked(); {
		case !v.Playing || !sel.allows(v):
		case v.Fallback:
			fallback = []Variant{v}
		default:
			list = append(list, v)
			video = video || v.Height > 0
		}
	}
	if !video {
		list = append(fallback, list...)
	}
	return list
}

// render writes the two tags and the URI of a rendition in the shape that
// players of IVS know: a group of its own, named by height and frame rate; the
// name leaves out a rate of 30. Either all variants have captions or none has
// (RFC 8216, 4.3.4.2).
func (v Variant) render(b *strings.Builder, prefix string, plain bool, groups map[string]bool, captions bool) {
	group, name := v.Label, strings.TrimSuffix(v.Label, "30")
	if groups[group] {
		group, name = group+"-"+v.name, name+" "+v.name
	}
	groups[group] = true
	fmt.Fprintf(b, "#EXT-X-MEDIA:TYPE=VIDEO,GROUP-ID=%q,NAME=%q,AUTOSELECT=YES,DEFAULT=YES\n", group, name)
	fmt.Fprintf(b, "#EXT-X-STREAM-INF:BANDWIDTH=%d,AVERAGE-BANDWIDTH=%d,CODECS=%q", v.Bandwidth, v.AverageBandwidth, v.Codecs)
	if v.Height > 0 {
		fmt.Fprintf(b, ",RESOLUTION=%dx%d,FRAME-RATE=%.3f", v.Width, v.Height, v.FrameRate)
	}
	closed := "NONE"
	if captions {
		closed = `"captions"`
	}
	query := ""
	if plain {
		query = "?parts=off"
	}
	fmt.Fprintf(b, ",VIDEO=%q,CLOSED-CAPTIONS=%s\n%s%s/playlist.m3u8%s\n", group, closed, prefix, v.name, query)
}

// bitRates are BANDWIDTH, of the heaviest segment, and AVERAGE-BANDWIDTH. While
// there is no segment, parts have to do; the first begins with a key frame and
// is heavier than what follows.
func (w *window) bitRates() (peak, average int64) {
	average = max(bitRate(w.totalBytes, w.totalDuration), 1)
	return max(w.peak, average), average
}

// frameRate is frames a second: the usual rate that is near, where one is,
// because RTMP's milliseconds blur it.
func (d Details) frameRate() float64 {
	measured := float64(time.Second) / float64(max(d.Frame, 1))
	best := measured
	for _, usual := range []float64{24000. / 1001, 24, 25, 30000. / 1001, 30, 48, 50, 60000. / 1001, 60} {
		off := math.Abs(measured - usual)
		if off < usual/50 && (best == measured || off < math.Abs(measured-best)) {
			best = usual
		}
	}
	return best
}
