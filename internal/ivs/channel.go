// Package ivs holds the types of the Amazon IVS API exactly as its JSON shows them, their
// names and ids, and the closed set of errors with which the API can answer. It does no
// I/O and knows nothing of media.
package ivs

import (
	"cmp"
	"strings"
)

// Values of Channel.LatencyMode.
const (
	LatencyLow    = "LOW" // the default
	LatencyNormal = "NORMAL"
)

// Values of Channel.Type.
const (
	TypeBasic      = "BASIC"
	TypeStandard   = "STANDARD" // the default
	TypeAdvancedSD = "ADVANCED_SD"
	TypeAdvancedHD = "ADVANCED_HD"
)

// Values of Channel.Preset, which only the ADVANCED types have.
const (
	PresetHigherBandwidth      = "HIGHER_BANDWIDTH_DELIVERY" // the default of ADVANCED types
	PresetConstrainedBandwidth = "CONSTRAINED_BANDWIDTH_DELIVERY"
)

// Values of Channel.ContainerFormat.
const (
	ContainerTS   = "TS" // the default
	ContainerFMP4 = "FRAGMENTED_MP4"
)

// Codes of Session Ended for an encoder that does not match the channel's
// MultitrackInputConfiguration.
const (
	CodeMultitrackNotAllowed = "MultitrackInputNotAllowed"
	CodeMultitrackRequired   = "MultitrackInputRequired"
)

// Values of MultitrackInputConfiguration.Policy and MaximumResolution.
const (
	MultitrackAllow   = "ALLOW"
	MultitrackRequire = "REQUIRE"

	ResolutionSD     = "SD"
	ResolutionHD     = "HD"
	ResolutionFullHD = "FULL_HD"
)

// MaxLines returns the maximum lines of video in a class of resolutions, counted on the
// shorter edge; 0 if there is no such class.
func MaxLines(class string) int {
	return map[string]int{ResolutionSD: 480, ResolutionHD: 720, ResolutionFullHD: 1080}[class]
}

// A Channel is where an encoder publishes and viewers watch. "" means none for Preset and
// for the ARNs, and is shown.
type Channel struct {
	ARN                          string                       `json:"arn"`
	Name                         string                       `json:"name"`
	LatencyMode                  string                       `json:"latencyMode"`
	Type                         string                       `json:"type"`
	RecordingConfigurationARN    string                       `json:"recordingConfigurationArn"`
	IngestEndpoint               string                       `json:"ingestEndpoint"` // a host: no scheme, port or app. Set by Endpoints.Fill
	PlaybackURL                  string                       `json:"playbackUrl"`    // set by Endpoints.Fill
	Authorized                   bool                         `json:"authorized"`     // private: viewers need a token
	InsecureIngest               bool                         `json:"insecureIngest"` // accepts plain RTMP and unencrypted SRT
	Preset                       string                       `json:"preset"`
	PlaybackRestrictionPolicyARN string                       `json:"playbackRestrictionPolicyArn"`
	AdConfigurationARN           string                       `json:"adConfigurationArn"`
	ContainerFormat              string                       `json:"containerFormat"`
	Multitrack                   MultitrackInputConfiguration `json:"multitrackInputConfiguration"`
	SRT                          SRT                          `json:"srt"`
	Tags                         map[string]string            `json:"tags"` // never nil: no tags are shown as {}
}

// NewChannel makes a channel with a new id, a new passphrase and the defaults
// of CreateChannel.
func NewChannel(account, region string) Channel {
	return Channel{
		ARN:             ARN{Region: region, Account: account, Type: ChannelType, ID: NewID()}.String(),
		LatencyMode:     LatencyLow,
		Type:            TypeStandard,
		ContainerFormat: ContainerTS,
		SRT:             SRT{Passphrase: NewPassphrase()},
		Tags:            map[string]string{},
	}
}

// Advanced reports whether channels of type typ have a transcode preset.
func Advanced(typ string) bool { return typ == TypeAdvancedSD || typ == TypeAdvancedHD }

// A MultitrackInputConfiguration says whether a channel accepts several video
// tracks from one encoder. Endpoints.Fill sets what was not specified.
type MultitrackInputConfiguration struct {
	Enabled           bool   `json:"enabled"`
	Policy            string `json:"policy"`            // such as MultitrackAllow
	MaximumResolution string `json:"maximumResolution"` // such as ResolutionFullHD
}

// SRT says where and how a channel accepts SRT.
type SRT struct {
	Endpoint   string `json:"endpoint"`   // a host. Set by Endpoints.Fill
	Passphrase string `json:"passphrase"` // not needed while the channel takes insecure ingest
}

// A ChannelSummary is a Channel as lists show it.
type ChannelSummary struct {
	ARN                          string            `json:"arn"`
	Name                         string            `json:"name"`
	LatencyMode                  string            `json:"latencyMode"`
	Authorized                   bool              `json:"authorized"`
	RecordingConfigurationARN    string            `json:"recordingConfigurationArn"`
	Tags                         map[string]string `json:"tags"`
	InsecureIngest               bool              `json:"insecureIngest"`
	Type                         string            `json:"type"`
	Preset                       string            `json:"preset"`
	PlaybackRestrictionPolicyARN string            `json:"playbackRestrictionPolicyArn"`
	AdConfigurationARN           string            `json:"adConfigurationArn"`
}

// A StreamKey lets an encoder publish to one channel. Value is a secret.
type StreamKey struct {
	ARN        string            `json:"arn"`
	Value      string            `json:"value"`
	ChannelARN string            `json:"channelArn"`
	Tags       map[string]string `json:"tags"` // never nil
}

// NewStreamKey makes a key of the channel with a new id and a new secret.
func NewStreamKey(account, region, channelARN string) StreamKey {
	id := NewID()
	return StreamKey{
		ARN:        ARN{Region: region, Account: account, Type: StreamKeyType, ID: id}.String(),
		Value:      newStreamKeyValue(region, id),
		ChannelARN: channelARN,
		Tags:       map[string]string{},
	}
}

// A StreamKeySummary is a StreamKey as lists show it: without its value.
type StreamKeySummary struct {
	ARN        string            `json:"arn"`
	ChannelARN string            `json:"channelArn"`
	Tags       map[string]string `json:"tags"` // never nil
}

// Endpoints are the addresses at which this installation is reached. They are not part of
// a stored channel: Fill sets them when it is shown.
type Endpoints struct {
	PublicURL  string // base of playback URLs, such as https://live.example.com
	IngestHost string // host, without a port, that encoders connect to
}

// Fill sets the addresses of c, and the defaults of its multitrack input.
func (e Endpoints) Fill(c *Channel) {
	c.IngestEndpoint = e.IngestHost
	c.PlaybackURL = e.PlaybackURL(c.ARN)
	c.SRT.Endpoint = e.IngestHost
	c.Multitrack.Policy = cmp.Or(c.Multitrack.Policy, MultitrackAllow)
	c.Multitrack.MaximumResolution = cmp.Or(c.Multitrack.MaximumResolution, ResolutionFullHD)
}

// PlaybackURL returns the URL of the channel's multivariant playlist, or "" if channelARN
// is not an ARN.
func (e Endpoints) PlaybackURL(channelARN string) string {
	a, ok := ParseARN(channelARN)
	if !ok {
		return ""
	}
	return strings.TrimSuffix(e.PublicURL, "/") + "/api/video/v1/" + a.Region + "." + a.Account + ".channel." + a.ID + ".m3u8"
}
