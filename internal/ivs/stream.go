package ivs

import "time"

// Values of Stream.State. An offline channel has no Stream, so only StateLive
// is ever shown.
const (
	StateLive    = "LIVE"
	StateOffline = "OFFLINE"
)

// Values of Stream.Health.
const (
	HealthHealthy  = "HEALTHY"
	HealthStarving = "STARVING" // fewer bits arrive than the encoder announced
	HealthUnknown  = "UNKNOWN"  // not measured yet
)

// Time is a time as the API shows it: RFC 3339 in UTC, to the second. Members tagged
// omitzero omit the zero Time.
type Time struct{ time.Time }

// MarshalJSON encodes t without fractions of a second.
func (t Time) MarshalJSON() ([]byte, error) {
	return t.UTC().AppendFormat(nil, `"2006-01-02T15:04:05Z"`), nil
}

// A Stream is the current broadcast of a channel.
type Stream struct {
	ChannelARN  string `json:"channelArn"`
	StreamID    string `json:"streamId"`
	PlaybackURL string `json:"playbackUrl"`
	StartTime   Time   `json:"startTime"` // when it went live, not when the encoder connected
	State       string `json:"state"`
	Health      string `json:"health"`
	ViewerCount int    `json:"viewerCount"` // concurrent views; -1 if they could not be counted
}

// A StreamSummary is a Stream as lists show it.
type StreamSummary struct {
	ChannelARN  string `json:"channelArn"`
	StreamID    string `json:"streamId"`
	State       string `json:"state"`
	Health      string `json:"health"`
	ViewerCount int    `json:"viewerCount"`
	StartTime   Time   `json:"startTime"`
}

// A StreamSession is the record of one broadcast, live or past.
type StreamSession struct {
	StreamID               string                  `json:"streamId"`
	StartTime              Time                    `json:"startTime,omitzero"` // zero if it never went live
	EndTime                Time                    `json:"endTime,omitzero"`   // zero until it ends
	Channel                Channel                 `json:"channel"`            // as it was when the stream went live
	IngestConfiguration    *IngestConfiguration    `json:"ingestConfiguration,omitempty"`
	IngestConfigurations   *IngestConfigurations   `json:"ingestConfigurations,omitempty"`
	RecordingConfiguration *RecordingConfiguration `json:"recordingConfiguration,omitempty"`
	TruncatedEvents        []StreamEvent           `json:"truncatedEvents"` // newest first, MaxSessionEvents at most
}

// MaxSessionEvents is how many events, the newest ones, a StreamSession shows.
const MaxSessionEvents = 500

// A StreamSessionSummary is a StreamSession as lists show it.
type StreamSessionSummary struct {
	StreamID      string `json:"streamId"`
	StartTime     Time   `json:"startTime,omitzero"`
	EndTime       Time   `json:"endTime,omitzero"`
	HasErrorEvent bool   `json:"hasErrorEvent"`
}

// A StreamEvent is one event in a session's history.
type StreamEvent struct {
	Name      string `json:"name"`
	Type      string `json:"type"`
	EventTime Time   `json:"eventTime"`
	Code      string `json:"code,omitempty"` // the reason, if there is a code for it
}

// Values of StreamEvent.Type: the detail-type of the event on EventBridge.
const (
	EventStreamState    = "IVS Stream State Change"
	EventStreamHealth   = "IVS Stream Health Change"
	EventLimitBreach    = "IVS Limit Breach"
	EventRecordingState = "IVS Recording State Change"
	EventAdBreakState   = "IVS Ad Break State Change"
)

// Values of StreamEvent.Name.
const (
	SessionCreated        = "Session Created"
	SessionEnded          = "Session Ended"
	StreamStart           = "Stream Start"
	StreamEnd             = "Stream End"
	StreamFailure         = "Stream Failure"
	StreamTakeover        = "Stream Takeover"
	StreamTakeoverFailure = "Stream Takeover Failure"
	StarvationStart       = "Starvation Start"
	StarvationEnd         = "Starvation End"
	RecordingStart        = "Recording Start"
	RecordingEnd          = "Recording End"
	RecordingStartFailure = "Recording Start Failure"
	RecordingEndFailure   = "Recording End Failure"
	AdBreakInserted       = "Ad Break Inserted"
)

// IsError reports whether e sets hasErrorEvent: a quota was breached or the service
// failed. Starvation and refused takeovers are caused by encoders and leave the stream
// running.
func (e StreamEvent) IsError() bool {
	switch e.Name {
	case StreamFailure, RecordingStartFailure, RecordingEndFailure:
		return true
	}
	return e.Type == EventLimitBreach
}

// IngestConfigurations are the tracks that an encoder sends.
type IngestConfigurations struct {
	Video []VideoConfiguration `json:"videoConfigurations"`
	Audio []AudioConfiguration `json:"audioConfigurations"`
}

// An IngestConfiguration is the older form, with one track of each kind.
type IngestConfiguration struct {
	Video VideoConfiguration `json:"video,omitzero"`
	Audio AudioConfiguration `json:"audio,omitzero"`
}

// A VideoConfiguration describes a video track, from its parameter sets and the encoder's
// onMetaData. The AVC pair is set only in the older IngestConfiguration; Profile and
// Level have the same values in both.
type VideoConfiguration struct {
	AVCProfile      string `json:"avcProfile"`
	AVCLevel        string `json:"avcLevel"`
	Codec           string `json:"codec"`           // RFC 6381, such as avc1.64002A
	Encoder         string `json:"encoder"`         // as the encoder names itself
	TargetBitrate   int    `json:"targetBitrate"`   // bit/s
	TargetFramerate int    `json:"targetFramerate"` // frames a second
	VideoHeight     int    `json:"videoHeight"`     // pixels
	VideoWidth      int    `json:"videoWidth"`      // pixels
	Level           string `json:"level"`           // such as 4.2
	Profile         string `json:"profile"`         // such as High
	Track           string `json:"track"`           // track0, track1, …
}

// An AudioConfiguration describes an audio track.
type AudioConfiguration struct {
	Codec         string `json:"codec"`         // RFC 6381, such as mp4a.40.2
	TargetBitrate int    `json:"targetBitrate"` // bit/s
	SampleRate    int    `json:"sampleRate"`    // Hz
	Channels      int    `json:"channels"`
	Track         string `json:"track"`
}

// First returns c in the older form: its first track of each kind, or nil if there is
// none.
func (c IngestConfigurations) First() *IngestConfiguration {
	var f IngestConfiguration
	if len(c.Video) > 0 {
		f.Video = c.Video[0]
		f.Video.AVCProfile, f.Video.AVCLevel = f.Video.Profile, f.Video.Level
	}
	if len(c.Audio) > 0 {
		f.Audio = c.Audio[0]
	}
	if f == (IngestConfiguration{}) {
		return nil
	}
	return &f
}

// A BatchError says why one item of a batch failed.
type BatchError struct {
	ARN     string `json:"arn"`
	Code    string `json:"code"` // an HTTP status in digits
	Message string `json:"message"`
}
