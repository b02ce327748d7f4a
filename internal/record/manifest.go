package record

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Names of the objects of a recording, below its prefix.
const (
	mediaFolder           = "media/hls"
	multivariantName      = "master.m3u8"
	byteRangeMultiName    = "byte-range-multivariant.m3u8"
	playlistName          = "playlist.m3u8"
	byteRangePlaylistName = "byte-range-variant.m3u8"
	thumbnailFolder       = "media/thumbnails"
	latestThumbnailName   = "media/latest_thumbnail/thumb.jpg"
	startedName           = "events/recording-started.json"
	endedName             = "events/recording-ended.json"
	failedName            = "events/recording-failed.json"
)

// prefixOf is where a recording that begins at a time has its objects: UTC, and
// numbers without leading zeros, as Amazon IVS has it.
func prefixOf(account, channelID, id string, at time.Time) string {
	at = at.UTC()
	return fmt.Sprintf("ivs/v1/%s/%s/%d/%d/%d/%d/%d/%s", account, channelID, at.Year(), at.Month(), at.Day(), at.Hour(), at.Minute(), id)
}

const (
	// target is EXT-X-TARGETDURATION of all media playlists. It may not change
	// while a playlist grows, so files are cut to suit it.
	target = 10 * time.Second

	// longest is the maximum EXTINF (RFC 8216, 4.3.3.1: rounded to the nearest integer it
	// is no more than the target duration).
	longest = target + time.Second/2 - 10*time.Microsecond
)

// A cut is a range of a file that can be played by itself, but for what its
// EXT-X-MAP holds: a GOP.
type cut struct {
	Offset   int64         `json:"offset"`
	Size     int64         `json:"size"`
	Duration time.Duration `json:"duration"`
	Date     time.Time     `json:"date,omitzero"` // as a playlist of the bucket has it already; else what comes before gives it
}

// A file is one media file of a track, or a time for which there is none.
type file struct {
	number        int64
	size          int64
	duration      time.Duration
	date          time.Time
	discontinuity bool
	gap           bool
	lost          bool  // a gap in the place of media of the same number that was lost
	fmp4          bool  // else a transport stream
	init          int64 // of its init segment; -1 where there is none yet
	cuts          []cut
	tags          string // EXT-X-DATERANGE lines that go before it
}

// playlistHead begins a media playlist. Both kinds only ever grow.
func playlistHead(fmp4, byteRanges bool) string {
	version := 3
	switch {
	case fmp4:
		version = 6 // EXT-X-MAP
	case byteRanges:
		version = 4 // EXT-X-BYTERANGE
	}
	return fmt.Sprintf("#EXTM3U\n#EXT-X-VERSION:%d\n#EXT-X-TARGETDURATION:%d\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-DISCONTINUITY-SEQUENCE:0\n#EXT-X-PLAYLIST-TYPE:EVENT\n",
		version, int(target/time.Second))
}

const playlistEnd = "#EXT-X-ENDLIST\n"

// appendFile adds a file to a playlist of whole files. newInit says that the
// file before it had another init segment.
func appendFile(dst []byte, f file, newInit bool) []byte {
	dst = f.appendHead(dst, newInit)
	dst = appendDate(dst, f.date)
	dst = appendDuration(dst, f.duration)
	return f.appendName(dst)
}

// appendCuts adds a file to a byte-range playlist, an entry a cut.
func appendCuts(dst []byte, f file, newInit bool) []byte {
	if f.gap {
		return appendFile(dst, f, newInit)
	}
	dst = f.appendHead(dst, newInit)
	date := f.date
	for _, c := range f.cuts {
		if !c.Date.IsZero() {
			date = c.Date
		}
		dst = appendDate(dst, date)
		dst = appendDuration(dst, c.Duration)
		dst = append(strconv.AppendInt(append(dst, "#EXT-X-BYTERANGE:"...), c.Size, 10), '@')
		dst = append(strconv.AppendInt(dst, c.Offset, 10), '\n')
		dst = f.appendName(dst)
		date = date.Add(c.Duration)
	}
	return dst
}

func (f file) appendHead(dst []byte, newInit bool) []byte {
	dst = append(dst, f.tags...)
	if f.discontinuity {
		dst = append(dst, "#EXT-X-DISCONTINUITY\n"...)
	}
	if f.init >= 0 && newInit {
		dst = append(append(append(dst, "#EXT-X-MAP:URI=\""...), initName(f.init)...), "\"\n"...)
	}
	if f.gap {
		dst = append(dst, "#EXT-X-GAP\n"...)
	}
	return dst
}

func (f file) appendName(dst []byte) []byte { return append(append(dst, f.name()...), '\n') }

// name is that of the object. A gap has a name, and no object.
func (f file) name() string {
	name := fileName(f.number, f.fmp4)
	if f.lost {
		return lostPrefix + name
	}
	return name
}

// lostPrefix begins the name of the gap in the place of what a file has lost.
const lostPrefix = "lost-"

func fileName(number int64, fmp4 bool) string {
	if fmp4 {
		return strconv.FormatInt(number, 10) + ".mp4"
	}
	return strconv.FormatInt(number, 10) + ".ts"
}

func initName(number int64) string { return "init-" + strconv.FormatInt(number, 10) + ".mp4" }

func appendDate(dst []byte, at time.Time) []byte {
	return at.UTC().AppendFormat(append(dst, "#EXT-X-PROGRAM-DATE-TIME:"...), "2006-01-02T15:04:05.000Z\n")
}

func appendDuration(dst []byte, d time.Duration) []byte {
	return fmt.Appendf(dst, "#EXTINF:%.5f,\n", d.Seconds())
}

// A variant is a track as multivariant playlists show it.
type variant struct {
	Name          string  `json:"name"` // its folder, such as "720p30"
	Codecs        string  `json:"codecs"`
	Width         int     `json:"width,omitempty"`
	Height        int     `json:"height,omitempty"`
	FrameRate     float64 `json:"frameRate,omitempty"`
	Captions      bool    `json:"captions,omitempty"`
	peak, average int64   // bit/s
}

// multivariant renders a multivariant playlist whose media playlists have a
// name.
func multivariant(variants []variant, playlist string) []byte {
	captions := false
	for _, v := range variants {
		captions = captions || v.Captions
	}
	var b strings.Builder
	b.WriteString("#EXTM3U\n")
	if captions {
		b.WriteString(`#EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID="captions",NAME="CC1",AUTOSELECT=YES,DEFAULT=NO,INSTREAM-ID="CC1"` + "\n")
	}
	for _, v := range variants {
		fmt.Fprintf(&b, "#EXT-X-MEDIA:TYPE=VIDEO,GROUP-ID=%q,NAME=%q,AUTOSELECT=YES,DEFAULT=YES\n", v.Name, strings.TrimSuffix(v.Name, "30"))
		fmt.Fprintf(&b, "#EXT-X-STREAM-INF:PROGRAM-ID=1,BANDWIDTH=%d,AVERAGE-BANDWIDTH=%d,CODECS=%q", max(v.peak, v.average, 1), max(v.average, 1), v.Codecs)
		if v.Height > 0 {
			fmt.Fprintf(&b, ",RESOLUTION=%dx%d", v.Width, v.Height)
		}
		fmt.Fprintf(&b, ",VIDEO=%q", v.Name)
		if v.Height > 0 {
			fmt.Fprintf(&b, ",FRAME-RATE=%.3f", v.FrameRate)
		}
		closed := "NONE"
		if captions {
			closed = `"captions"`
		}
		fmt.Fprintf(&b, ",CLOSED-CAPTIONS=%s\n%s/%s\n", closed, v.Name, playlist)
	}
	return []byte(b.String())
}
