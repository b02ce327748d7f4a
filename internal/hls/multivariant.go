package hls

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/media"
)

// format is what the multivariant playlist says of a rendition besides its bit
// rate.
type format struct {
	video, audio *media.Track
	frame        time.Duration // how long a picture lasts
}

// captionsTag is the one track of captions that IVS has, in the pictures of all
// renditions.
const captionsTag = `#EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID="captions",NAME="CC1",AUTOSELECT=YES,DEFAULT=NO,INSTREAM-ID="CC1"` + "\n"

// A Selection is which renditions a viewer may have. The zero value is all that
// have pictures.
type Selection struct {
	MaxLines  int  // by media.Lines; 0 means any
	AudioOnly bool // also those without pictures
}

func (s Selection) allows(r *Rendition) bool {
	v := r.format.video
	if v == nil {
		return s.AudioOnly || !r.soundOnly
	}
	return s.MaxLines == 0 || media.Lines(v.Video.Width, v.Video.Height) <= s.MaxLines
}

// Multivariant renders the multivariant playlist with each rendition that plays
// and has pictures; see Select.
func (s *Stream) Multivariant(prefix string) []byte { return s.Select(prefix, Selection{}) }

// Select renders the multivariant playlist: each selected rendition that plays,
// with measured bit rates. prefix is the relative path that is put before
// "<rendition>/playlist.m3u8". It is nil while nothing can be played.
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
	captions := slices.ContainsFunc(list, func(r *Rendition) bool { return r.captions })
	for _, r := range list {
		independent = independent && r.window.independent()
		r.renderVariant(&b, prefix, groups, captions)
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

// listedLocked are the renditions of a selection that play, and the spare one
// where there is no other with pictures.
func (s *Stream) listedLocked(sel Selection) (list []*Rendition) {
	var spare *Rendition
	pictures := false
	for _, r := range s.renditions {
		switch {
		case !r.playingLocked() || !sel.allows(r):
		case r.spare:
			spare = r
		default:
			list = append(list, r)
			pictures = pictures || r.format.video != nil
		}
	}
	if spare != nil && !pictures {
		list = append([]*Rendition{spare}, list...)
	}
	return list
}

// renderVariant writes the two tags and the URI of a rendition in the shape
// that players of IVS know: a group of its own, named by height and frame rate.
// Either all variants have captions or none has (RFC 8216, 4.3.4.2).
func (r *Rendition) renderVariant(b *strings.Builder, prefix string, groups map[string]bool, captions bool) {
	peak, average := r.window.bitRates()
	peak = max(peak, r.aim)
	group, name := r.format.names(r.name)
	if r.leader != nil {
		group, _, _ = strings.Cut(r.name, "-") // the number of one that came again
		name = strings.TrimSuffix(group, "30")
	}
	if groups[group] {
		group, name = group+"-"+r.name, name+" "+r.name
	}
	groups[group] = true
	var codecs []string
	for _, t := range []*media.Track{r.format.video, r.format.audio} {
		if t != nil {
			codecs = append(codecs, t.RFC6381())
		}
	}
	fmt.Fprintf(b, "#EXT-X-MEDIA:TYPE=VIDEO,GROUP-ID=%q,NAME=%q,AUTOSELECT=YES,DEFAULT=YES\n", group, name)
	fmt.Fprintf(b, "#EXT-X-STREAM-INF:BANDWIDTH=%d,AVERAGE-BANDWIDTH=%d,CODECS=%q", peak, average, strings.Join(codecs, ","))
	if v := r.format.video; v != nil {
		fmt.Fprintf(b, ",RESOLUTION=%dx%d,FRAME-RATE=%.3f", v.Video.Width, v.Video.Height, r.format.rate())
	}
	closed := "NONE"
	if captions {
		closed = `"captions"`
	}
	fmt.Fprintf(b, ",VIDEO=%q,CLOSED-CAPTIONS=%s\n%s%s/playlist.m3u8\n", group, closed, prefix, r.name)
}

// bitRates are BANDWIDTH, of the heaviest segment, and AVERAGE-BANDWIDTH. While
// there is no segment, parts have to do; the first begins with a key frame and
// is heavier than what follows.
func (w *window) bitRates() (peak, average int64) {
	average = max(bitRate(w.totalBytes, w.totalDuration), 1)
	return max(w.peak, average), average
}

// rate is the frame rate: the usual one that is near, where one is, because
// RTMP's milliseconds blur it.
func (f format) rate() float64 {
	measured := float64(time.Second) / float64(max(f.frame, 1))
	best := measured
	for _, usual := range []float64{24000. / 1001, 24, 25, 30000. / 1001, 30, 48, 50, 60000. / 1001, 60} {
		off := math.Abs(measured - usual)
		if off < usual/50 && (best == measured || off < math.Abs(measured-best)) {
			best = usual
		}
	}
	return best
}

// names are GROUP-ID, as "720p30", and NAME, which leaves out a rate of 30:
// "720p". What has no pictures is named as the rendition.
func (f format) names(rendition string) (group, name string) {
	if f.video == nil {
		return rendition, rendition
	}
	v := f.video.Video
	group = fmt.Sprintf("%dp%d", media.Lines(v.Width, v.Height), int(math.Round(f.rate())))
	return group, strings.TrimSuffix(group, "30")
}
