package segment

import "time"

func (l *Leader) frame() time.Duration { return l.cadence.frame(l.out.video) }

// date returns the wall-clock time at t on the timeline.
func (l *Leader) date(t time.Duration) time.Time {
	return l.epoch.Add(t + l.out.composition - timeOffset).UTC()
}

// mark notes where the Leader has cut.
func (l *Leader) mark(kind markKind, at time.Duration) {
	l.marks.add(mark{kind, at + l.out.composition, l.out.segment.head.Number, l.out.segment.head.Date}, l.partTarget)
}

// full reports whether the pending part or its segment has no room for a frame that ends
// at end.
func (l *Leader) full(end time.Duration) bool {
	return end-l.out.pending.start > l.partTarget || end-l.out.segment.start > l.maxSegment() || l.out.pending.size > maxPartBytes
}

// suitPart makes the part target what whole frames can fill to at least 85 %
// (rfc8216bis, 4.4.4.9). It is decided by the first frames, unless the first part ends
// before the second of them: the part target is in playlists then, and must not change.
func (l *Leader) suitPart() {
	if l.suited || !l.out.rendition.Stream().LowLatency {
		return
	}
	l.suited = true
	frame := l.frame()
	filled := max(1, l.partTarget/frame) * frame
	if filled > l.partTarget || filled < l.partTarget*87/100 {
		l.partTarget = (filled * 103 / 100).Round(time.Millisecond)
	}
}

// cutsAt reports whether a key frame at t begins a segment: if the current segment is
// long enough, or would be too long by the time of the next key frame.
func (l *Leader) cutsAt(t time.Duration) bool {
	length := t - l.out.segment.start
	return length >= minSegment || length > 0 && length+max(l.cadence.longest, t-l.cadence.lastKey) > l.maxSegment()
}

// cutsWithoutKey reports whether a frame of video at t, which is no key frame, begins a
// segment: where key frames are further apart than a segment lasts, renditions that are
// encoded have a key frame of their own at t, and the next one would be too late.
func (l *Leader) cutsWithoutKey(t time.Duration) bool {
	length, longest := t-l.out.segment.start, l.maxSegment()
	if length <= 0 || length+KeyInterval <= longest {
		return false
	}
	since := t - l.cadence.lastKey
	return max(since, l.keyInterval()) > longest && KeyIntervals(since) > KeyIntervals(l.cadence.last-l.cadence.lastKey)
}

// keyInterval returns the distance of the last two key frames; after the first one, the
// distance that the encoder declares, or 0 if it declares none.
func (l *Leader) keyInterval() time.Duration {
	if n := l.cadence.lastGOP; n > 0 {
		return time.Duration(n) * l.frame()
	}
	return l.out.details.KeyInterval
}

func (l *Leader) maxSegment() time.Duration { return l.target + segmentSlack }

// bridge ends the pending part when a frame at t does not fit into it. What
// then still lies before t has no media: the segment's duration covers it, and
// no part does. (EXT-X-GAP is made for this, but stops players that have no
// other rendition to go to.)
func (l *Leader) bridge(t, frame time.Duration) error {
	for t > l.out.pending.start && l.full(t+frame) {
		if l.out.pending.video+l.out.pending.audio > 0 {
			if err := l.endPartAndFullSegment(t); err != nil {
				return err
			}
			continue
		}
		if t+frame-l.out.segment.start > l.maxSegment() {
			l.endSegment(true)
		}
		l.out.pending.start, l.out.pending.end = t, t
		l.holes.Add(1)
	}
	return nil
}

// holed reports whether the next segment would begin with a hole that makes it too long.
// Playback does not continue across such a hole: players have to start again.
func (l *Leader) holed() bool {
	return !l.out.segment.open && l.out.pending.start-l.out.segment.start > l.maxSegment()
}

// endPartAndFullSegment ends the part, and the segment if one more frame would
// make that too long.
func (l *Leader) endPartAndFullSegment(end time.Duration) error {
	if l.promised {
		l.endSegment(true) // only its last part may be short
	}
	if err := l.endPart(end); err != nil || !l.out.segment.open {
		return err
	}
	if l.full(l.out.pending.start+l.frame()) || l.out.segment.size > l.out.rendition.Stream().MaxSegmentBytes() {
		l.endSegment(true)
	}
	return nil
}

// endPart ends the part at end, or as early as part target and segment ask
// for.
func (l *Leader) endPart(end time.Duration) error {
	l.out.details.Frame, l.out.details.PartTarget = l.cadence.average(l.out.video), l.partTarget
	n := l.out.nextPart
	err := l.out.endPart(min(end, l.out.pending.start+l.partTarget, l.out.segment.start+l.maxSegment()))
	if l.out.lost != nil {
		l.lost, l.restart, l.promised = l.out.lost, true, false
	}
	if l.out.nextPart > n {
		l.suited = true
		l.mark(markPart, l.out.segment.start+l.out.segment.length)
		l.target = l.out.rendition.MaxDuration()
	}
	return err
}

// endSegment ends the segment that has parts, if there is one. The segment includes
// the hole after its last part, so the next one begins with media.
func (l *Leader) endSegment(forced bool) {
	if !l.out.segment.open {
		return
	}
	d := l.out.pending.start - l.out.segment.start
	if d > l.maxSegment() {
		d = l.out.segment.length
	}
	l.out.endSegment(d, forced)
	l.promised = false
	l.out.segment.head.Date = l.date(l.out.segment.start)
	l.mark(markSegment, l.out.segment.start)
	l.target = l.out.rendition.MaxDuration()
}
