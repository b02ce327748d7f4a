package hls

import (
	"strconv"
	"time"
)

// render writes the media playlist of the window as it is. A delta is one if
// there is anything to leave out. The caller holds the Stream's lock.
func (r *Rendition) render(dst []byte, k kind) []byte {
	s, w, parts := r.stream, &r.window, k != plain
	dst = s.cues.render(r.renderHead(dst, parts))
	segments := w.segments[w.listed:]
	edge := time.Duration(0)
	for _, g := range segments {
		edge += g.listed()
	}
	skipped := 0
	if k == delta && !r.ended {
		skipped = skippable(segments, edge-skipUntil(s.target))
	}
	if skipped > 0 {
		dst = append(dst, "#EXT-X-SKIP:SKIPPED-SEGMENTS="...)
		dst = strconv.AppendInt(dst, int64(skipped), 10)
		dst = append(dst, '\n')
	}
	var init *Init
	var end time.Duration // of g, from the start of the playlist
	for i, g := range segments {
		end += g.duration
		if i < skipped || !g.complete && !parts {
			continue
		}
		if g.discontinuity {
			dst = append(dst, "#EXT-X-DISCONTINUITY\n"...)
		}
		if g.init != init && s.Container == FMP4 {
			dst = append(dst, "#EXT-X-MAP:URI=\""...)
			dst = append(appendInitName(dst, g.init), "\"\n"...)
		}
		init = g.init
		// rfc8216bis, 6.2.2: parts are of use near the live edge only.
		dst = s.renderSegment(dst, g, parts && end > edge-3*s.target)
	}
	switch {
	case r.ended:
		return append(dst, "#EXT-X-ENDLIST\n"...)
	case !parts:
		return dst
	}
	dst = append(dst, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\""...)
	dst = append(s.appendPartName(dst, w.nextPart()), "\"\n"...)
	return r.renderReports(dst)
}

func (r *Rendition) renderHead(dst []byte, parts bool) []byte {
	s, w := r.stream, &r.window
	version := int64(3)
	switch {
	case parts:
		version = 9 // EXT-X-SKIP (rfc8216bis, 8)
	case s.Container == FMP4:
		version = 6 // EXT-X-MAP without I-frames only
	}
	dst = appendTag(append(dst, "#EXTM3U\n"...), "#EXT-X-VERSION:", version)
	dst = appendTag(dst, "#EXT-X-TARGETDURATION:", int64(s.target/time.Second))
	if parts {
		dst = append(dst, "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK="...)
		dst = appendSeconds(dst, 3*r.details.PartTarget)
		dst = append(dst, ",CAN-SKIP-UNTIL="...)
		dst = appendSeconds(dst, skipUntil(s.target))
		dst = append(dst, ",HOLD-BACK="...)
		dst = appendSeconds(dst, 3*s.target)
		dst = append(dst, "\n#EXT-X-PART-INF:PART-TARGET="...)
		dst = appendSeconds(dst, r.details.PartTarget)
		dst = append(dst, '\n')
	}
	dst = appendTag(dst, "#EXT-X-MEDIA-SEQUENCE:", w.segments[w.listed].number)
	dst = appendTag(dst, "#EXT-X-DISCONTINUITY-SEQUENCE:", w.discontinuity)
	if w.independent() {
		dst = append(dst, "#EXT-X-INDEPENDENT-SEGMENTS\n"...)
	}
	return dst
}

func (s *Stream) renderSegment(dst []byte, g *segment, parts bool) []byte {
	dst = append(dst, "#EXT-X-PROGRAM-DATE-TIME:"...)
	dst = g.date.AppendFormat(dst, "2006-01-02T15:04:05.000Z\n")
	if parts {
		for _, p := range g.parts {
			dst = append(dst, "#EXT-X-PART:DURATION="...)
			dst = appendSeconds(dst, p.Duration)
			dst = append(dst, ",URI=\""...)
			dst = append(s.appendPartName(dst, p.Number), '"')
			if p.Independent {
				dst = append(dst, ",INDEPENDENT=YES"...)
			}
			dst = append(dst, '\n')
		}
	}
	if !g.complete {
		return dst
	}
	if g.gap() {
		dst = append(dst, "#EXT-X-GAP\n"...)
	}
	dst = append(dst, "#EXTINF:"...)
	dst = append(appendSeconds(dst, g.duration), ",\n"...)
	return append(s.appendSegmentName(dst, g.number), '\n')
}

// renderReports tells players of this rendition how far the others are
// (rfc8216bis, 4.4.5.4).
func (r *Rendition) renderReports(dst []byte) []byte {
	for _, other := range r.stream.renditions {
		g := other.window.last()
		if other == r || g == nil || g.gap() {
			continue
		}
		dst = append(dst, "#EXT-X-RENDITION-REPORT:URI=\"../"...)
		dst = append(append(dst, other.name...), "/playlist.m3u8\",LAST-MSN="...)
		dst = append(strconv.AppendInt(dst, g.number, 10), ",LAST-PART="...)
		dst = append(strconv.AppendInt(dst, int64(len(g.parts)-1), 10), '\n')
	}
	return dst
}

// skipUntil is the Skip Boundary, at least six target durations from the end
// (rfc8216bis, 4.4.3.8).
func skipUntil(target time.Duration) time.Duration { return 6 * target }

// skippable is how many segments end before boundary. None are where there is a
// discontinuity among them: players have miscounted those, and the full
// playlist is always a right answer.
func skippable(segments []*segment, boundary time.Duration) (n int) {
	for _, g := range segments {
		if boundary -= g.duration; boundary < 0 {
			break
		}
		if g.discontinuity {
			return 0
		}
		n++
	}
	return n
}

// independent reports whether all listed segments begin with a key frame.
func (w *window) independent() bool {
	for _, g := range w.segments[w.listed:] {
		if !g.independent {
			return false
		}
	}
	return true
}

func appendTag(dst []byte, tag string, v int64) []byte {
	return append(strconv.AppendInt(append(dst, tag...), v, 10), '\n')
}

// appendSeconds writes d in seconds with five decimals.
func appendSeconds(dst []byte, d time.Duration) []byte {
	v := int64(d+5*time.Microsecond) / int64(10*time.Microsecond)
	dst = append(strconv.AppendInt(dst, v/100_000, 10), '.')
	for unit := int64(10_000); unit > 0; unit /= 10 {
		dst = append(dst, '0'+byte(v/unit%10))
	}
	return dst
}

func appendInitName(dst []byte, i *Init) []byte {
	return append(strconv.AppendInt(append(dst, "init-"...), i.Number, 10), ".mp4"...)
}

// Parts are numbered through the whole rendition, not within a segment: so the
// name of the next one is known before it is known which segment it is in.
func (s *Stream) appendPartName(dst []byte, seq int64) []byte {
	return append(strconv.AppendInt(append(dst, 'p'), seq, 10), s.extension()...)
}

func (s *Stream) appendSegmentName(dst []byte, msn int64) []byte {
	return append(strconv.AppendInt(dst, msn, 10), s.extension()...)
}

func (s *Stream) extension() string {
	if s.Container == FMP4 {
		return ".m4s"
	}
	return ".ts"
}
