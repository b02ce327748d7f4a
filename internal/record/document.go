package record

import (
	"encoding/json"

	"github.com/millrace/millrace/internal/ivs"
)

// Values of recording_status in the JSON files.
const (
	statusStarted = "RECORDING_STARTED"
	statusEnded   = "RECORDING_ENDED"
	statusFailed  = "RECORDING_ENDED_WITH_FAILURE"
)

// Values of recording_status_reason.
const (
	reasonValidation = "ValidationException"     // the bucket refuses
	reasonInternal   = "InternalServerException" // something went wrong here
)

// A document is the content of the three JSON files, in the order of Amazon IVS.
type document struct {
	Version       string        `json:"version"`
	ChannelARN    string        `json:"channel_arn"`
	EndedAt       ivs.Time      `json:"recording_ended_at,omitzero"`
	StartedAt     ivs.Time      `json:"recording_started_at"`
	Status        string        `json:"recording_status"`
	StatusMessage string        `json:"recording_status_message,omitempty"`
	Media         documentMedia `json:"media"`
}

type documentMedia struct {
	HLS             documentHLS        `json:"hls"`
	Thumbnails      *documentThumbnail `json:"thumbnails,omitempty"`
	LatestThumbnail *documentThumbnail `json:"latest_thumbnail,omitempty"`
}

type documentHLS struct {
	DurationMS        *int64              `json:"duration_ms,omitempty"` // not in recording-started.json
	Path              string              `json:"path"`
	Playlist          string              `json:"playlist"`
	ByteRangePlaylist string              `json:"byte_range_playlist"`
	Renditions        []documentRendition `json:"renditions"`
}

type documentRendition struct {
	Path              string `json:"path"`
	Playlist          string `json:"playlist"`
	ByteRangePlaylist string `json:"byte_range_playlist"`
	Height            int    `json:"resolution_height,omitempty"`
	Width             int    `json:"resolution_width,omitempty"`
}

type documentThumbnail struct {
	Path   string `json:"path"`
	Height int    `json:"resolution_height"`
	Width  int    `json:"resolution_width"`
}

func newDocument(channelARN, status string, variants []variant) document {
	d := document{Version: "v1", ChannelARN: channelARN, Status: status}
	d.Media.HLS = documentHLS{Path: mediaFolder, Playlist: multivariantName, ByteRangePlaylist: byteRangeMultiName, Renditions: []documentRendition{}}
	for _, v := range variants {
		d.Media.HLS.Renditions = append(d.Media.HLS.Renditions, documentRendition{v.Name, playlistName, byteRangePlaylistName, v.Height, v.Width})
	}
	return d
}

func (d document) encode() ([]byte, error) { return json.MarshalIndent(d, "", "  ") }
