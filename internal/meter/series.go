package meter

import (
	"encoding/binary"
	"errors"
	"math"
	"time"
)

// A Metric is the number of a figure in a Point. Blocks are stored for days: numbers are
// only ever added, at the end.
type Metric int

// The figures of a session. Those that Amazon CloudWatch has under AWS/IVS have its names
// and units.
const (
	IngestVideoBitrate Metric = iota // bit/s
	IngestAudioBitrate               // bit/s
	IngestBitrate                    // bit/s, of all tracks
	IngestFramerate                  // frames a second
	KeyframeInterval                 // seconds; none while no key frame comes
	ConcurrentViews
	TimelineRepairs   // frames whose time was repaired
	DroppedFrames     // frames that no player could use
	PartSize          // bytes, mean
	PartDelay         // seconds from the end of a part's last frame to its publication, mean
	SegmentSize       // bytes, mean
	SegmentDelay      // seconds from the end of a segment's last frame to its publication, mean
	LiveInputTime     // seconds of video that arrived
	LiveDeliveredTime // seconds that viewers have watched, all together
	StalledViewers    // per cent, of those whose players report, who stalled in the minute before; none while none reports
	StartupTime       // seconds until playback began, mean of those players
	numMetrics
)

var metricNames = [numMetrics]string{"IngestVideoBitrate", "IngestAudioBitrate", "IngestBitrate", "IngestFramerate",
	"KeyframeInterval", "ConcurrentViews", "TimelineRepairs", "DroppedFrames", "PartSize", "PartDelay", "SegmentSize",
	"SegmentDelay", "LiveInputTime", "LiveDeliveredTime", "StalledViewers", "StartupTime"}

// Metrics are all metrics, in order.
func Metrics() []Metric {
	all := make([]Metric, numMetrics)
	for i := range all {
		all[i] = Metric(i)
	}
	return all
}

func (k Metric) String() string { return metricNames[k] }

// counted reports whether values add up over a longer period; of all other figures the
// mean is taken.
func (k Metric) counted() bool {
	return k == TimelineRepairs || k == DroppedFrames || k == LiveInputTime || k == LiveDeliveredTime
}

// A Point holds the figures of one period. NaN means no figure.
type Point struct {
	Time   int64 // Unix seconds, start of the period
	Values [numMetrics]float32
}

// Periods of Points, with the length of a Block of them in seconds.
const (
	Second = 1  // in Blocks of a minute
	Minute = 60 // in Blocks of an hour
)

// Kept returns how long the points of a period are kept.
func Kept(period int64) time.Duration {
	if period == Minute {
		return 15 * 24 * time.Hour
	}
	return 3 * time.Hour
}

func blockLength(period int64) int64 { return 60 * period }

// A Block holds the points of a minute or an hour, or of its beginning.
type Block struct {
	Period int64 // Second or Minute
	Start  int64 // Unix seconds, of the minute or hour
	Data   []byte
}

// Totals are counts that others keep for a session, since its beginning, and the present
// state of its viewers.
type Totals struct {
	Views                 int
	Reporting, Stalled    int           // viewers whose players report, and of them those who stalled lately
	Startup               time.Duration // of them, mean; 0 is unknown
	Repairs, Dropped      int64
	Parts, PartBytes      int64
	PartDelay             time.Duration // of all parts together
	Segments, SegmentSize int64         // SegmentSize is in bytes, of all together
	SegmentDelay          time.Duration // of all segments together
}

// A series turns samples into points. It keeps the points of two minutes, and
// those of the minutes of an hour.
type series struct {
	next    int64 // the second that becomes a point next; 0 before the first
	totals  Totals
	seconds []Point // from the beginning of the minute before this one
	minutes []Point // of this hour
}

// Tick makes points of the seconds that are over, and returns the Blocks with new points:
// once a minute, and with last, which ends the series.
func (m *Meter) Tick(now time.Time, t Totals, last bool) (blocks []Block) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.second == 0 {
		return nil
	}
	m.turnLocked(m.unixLocked(now))
	end := m.second
	if last {
		end++
	}
	s := &m.series
	s.next = max(s.next, m.first, m.second-remembered+1)
	for ; s.next < end; s.next++ {
		p := m.atLocked(s.next).point()
		s.addTotals(&p, t)
		blocks = append(blocks, s.add(p)...)
	}
	if last {
		blocks = append(blocks, s.flush()...)
	}
	return blocks
}

func (q *sample) point() (p Point) {
	p.Time = q.second
	v := &p.Values
	v[IngestVideoBitrate] = float32(q.videoBytes * 8)
	v[IngestAudioBitrate] = float32(q.audioBytes * 8)
	v[IngestBitrate] = float32((q.videoBytes + q.audioBytes) * 8)
	v[IngestFramerate] = float32(q.frames)
	v[KeyframeInterval] = mean(q.keyGaps.Seconds(), q.keys)
	v[LiveInputTime] = float32(q.shown.Seconds())
	return p
}

// addTotals fills in what has come to the totals since they were last seen.
func (s *series) addTotals(p *Point, t Totals) {
	o, v := s.totals, &p.Values
	s.totals = t
	v[ConcurrentViews] = float32(t.Views)
	v[LiveDeliveredTime] = float32(t.Views)
	v[TimelineRepairs] = float32(t.Repairs - o.Repairs)
	v[DroppedFrames] = float32(t.Dropped - o.Dropped)
	v[PartSize] = mean(float64(t.PartBytes-o.PartBytes), t.Parts-o.Parts)
	v[PartDelay] = mean((t.PartDelay - o.PartDelay).Seconds(), t.Parts-o.Parts)
	v[SegmentSize] = mean(float64(t.SegmentSize-o.SegmentSize), t.Segments-o.Segments)
	v[SegmentDelay] = mean((t.SegmentDelay - o.SegmentDelay).Seconds(), t.Segments-o.Segments)
	v[StalledViewers] = mean(100*float64(t.Stalled), int64(t.Reporting))
	v[StartupTime] = mean(t.Startup.Seconds(), min(int64(t.Startup), 1))
}

func mean(sum float64, n int64) float32 {
	if n == 0 {
		return float32(math.NaN())
	}
	return float32(sum / float64(n))
}

// add takes the next point. The first of a minute closes the one before.
func (s *series) add(p Point) (blocks []Block) {
	if n := len(s.seconds); n > 0 && s.seconds[n-1].Time/60 != p.Time/60 {
		blocks = s.flush()
		if s.minutes[len(s.minutes)-1].Time/3600 != p.Time/3600 {
			s.minutes = s.minutes[:0]
		}
		s.forget((p.Time/60 - 1) * 60)
	}
	s.seconds = append(s.seconds, p)
	return blocks
}

// forget drops the seconds before a time.
func (s *series) forget(before int64) {
	n := 0
	for _, p := range s.seconds {
		if p.Time >= before {
			s.seconds[n] = p
			n++
		}
	}
	s.seconds = s.seconds[:n]
}

// flush makes Blocks of the last minute that has points.
func (s *series) flush() []Block {
	n := len(s.seconds)
	if n == 0 {
		return nil
	}
	start := s.seconds[n-1].Time / 60 * 60
	i := n
	for i > 0 && s.seconds[i-1].Time >= start {
		i--
	}
	s.minutes = append(s.minutes, merge(start, s.seconds[i:]))
	return []Block{
		{Second, start, encode(start, Second, s.seconds[i:])},
		{Minute, start / 3600 * 3600, encode(start/3600*3600, Minute, s.minutes)},
	}
}

// merge makes one point of many.
func merge(time int64, points []Point) Point {
	out := Point{Time: time}
	for k := range out.Values {
		sum, n := 0.0, int64(0)
		for _, p := range points {
			if v := float64(p.Values[k]); !math.IsNaN(v) {
				sum += v
				n++
			}
		}
		if Metric(k).counted() && n > 0 {
			n = 1
		}
		out.Values[k] = mean(sum, n)
	}
	return out
}

// Recent returns the points of a period that are in memory, oldest first. Older points
// are in Blocks.
func (m *Meter) Recent(period int64) []Point {
	m.mu.Lock()
	defer m.mu.Unlock()
	if period == Minute {
		return append([]Point(nil), m.series.minutes...)
	}
	return append([]Point(nil), m.series.seconds...)
}

// A Block's Data: blockVersion, the number of metrics, the number of points,
// then for each point its place in the block and its values, 32 bits each,
// little-endian.
const blockVersion = 1

func encode(start, period int64, points []Point) []byte {
	b := make([]byte, 0, 3+len(points)*(1+4*int(numMetrics)))
	b = append(b, blockVersion, byte(numMetrics), byte(len(points)))
	for _, p := range points {
		b = append(b, byte((p.Time-start)/period))
		for _, v := range p.Values {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
		}
	}
	return b
}

var errBlock = errors.New("a block of metrics that cannot be read")

// Points decodes a Block. Metrics that did not exist when it was written are NaN.
func (b Block) Points() ([]Point, error) {
	if len(b.Data) < 3 || b.Data[0] != blockVersion {
		return nil, errBlock
	}
	metrics, n, data := int(b.Data[1]), int(b.Data[2]), b.Data[3:]
	size := 1 + 4*metrics
	if len(data) != n*size || n > int(blockLength(b.Period)/max(b.Period, 1)) {
		return nil, errBlock
	}
	points := make([]Point, n)
	for i := range points {
		p, q := &points[i], data[i*size:]
		p.Time = b.Start + int64(q[0])*b.Period
		for k := range p.Values {
			p.Values[k] = float32(math.NaN())
			if k < metrics {
				p.Values[k] = math.Float32frombits(binary.LittleEndian.Uint32(q[1+4*k:]))
			}
		}
	}
	return points, nil
}
