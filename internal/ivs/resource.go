package ivs

// A Resource holds what resources of different types have in common.
type Resource struct {
	ARN    string
	Digest string             // unique in an account and region; "" means no such constraint
	Tags   *map[string]string // the resource's own tags
}

// A PlaybackKeyPair is the public half of a key that signs viewers' tokens.
type PlaybackKeyPair struct {
	ARN         string            `json:"arn"`
	Name        string            `json:"name"`
	Fingerprint string            `json:"fingerprint"` // MD5 of the DER SubjectPublicKeyInfo: 16 bytes in hex, colons between
	Tags        map[string]string `json:"tags"`        // never nil

	// PublicKeyMaterial is the key in PEM. It is kept and never shown.
	PublicKeyMaterial string `json:"publicKeyMaterial,omitempty"`
}

// Shown returns k as the API shows it.
func (k PlaybackKeyPair) Shown() PlaybackKeyPair {
	k.PublicKeyMaterial = ""
	return k
}

// Resource returns k as a Resource. The same key cannot be imported twice.
func (k *PlaybackKeyPair) Resource() Resource { return Resource{k.ARN, k.Fingerprint, &k.Tags} }

// A PlaybackKeyPairSummary is a PlaybackKeyPair as lists show it.
type PlaybackKeyPairSummary struct {
	ARN  string            `json:"arn"`
	Name string            `json:"name"`
	Tags map[string]string `json:"tags"`
}

// Summary returns k as lists show it.
func (k PlaybackKeyPair) Summary() PlaybackKeyPairSummary {
	return PlaybackKeyPairSummary{k.ARN, k.Name, k.Tags}
}

// A PlaybackRestrictionPolicy says where public channels may be watched. An empty list
// restricts nothing. Lists show all of it.
type PlaybackRestrictionPolicy struct {
	ARN                           string            `json:"arn"`
	Name                          string            `json:"name"`
	AllowedCountries              []string          `json:"allowedCountries"`              // ISO 3166-1 alpha-2; never nil
	AllowedOrigins                []string          `json:"allowedOrigins"`                // hosts may begin with *.; never nil
	EnableStrictOriginEnforcement bool              `json:"enableStrictOriginEnforcement"` // media is checked too, not only the multivariant playlist
	Tags                          map[string]string `json:"tags"`                          // never nil
}

// Resource returns p as a Resource.
func (p *PlaybackRestrictionPolicy) Resource() Resource { return Resource{p.ARN, "", &p.Tags} }

// An AdConfiguration says which ads fill a channel's breaks. Lists show all of it.
type AdConfiguration struct {
	ARN         string                             `json:"arn"`
	Name        string                             `json:"name"`
	MediaTailor []MediaTailorPlaybackConfiguration `json:"mediaTailorPlaybackConfigurations"` // the first is the default; 1 to 3
	PostRoll    PostRollConfiguration              `json:"postRollConfiguration"`
	Tags        map[string]string                  `json:"tags"` // never nil
}

// Resource returns a as a Resource.
func (a *AdConfiguration) Resource() Resource { return Resource{a.ARN, "", &a.Tags} }

// A MediaTailorPlaybackConfiguration names one in AWS Elemental MediaTailor.
type MediaTailorPlaybackConfiguration struct {
	ARN string `json:"playbackConfigurationArn"`
}

// A PostRollConfiguration says whether ads follow the end of a stream.
type PostRollConfiguration struct {
	Enabled         bool `json:"enabled"`
	DurationSeconds int  `json:"durationSeconds"` // 1 to 300
}

// DefaultPostRoll is the post-roll of an ad configuration that specifies none.
var DefaultPostRoll = PostRollConfiguration{DurationSeconds: 15}

// A ViewerSession names a viewer of a channel, with tokens up to a version.
type ViewerSession struct {
	ChannelARN string `json:"channelArn"`
	ViewerID   string `json:"viewerId"`
	Version    int    `json:"viewerSessionVersionsLessThanOrEqualTo"`
}

// A RevocationError says why one viewer session of a batch was not revoked.
type RevocationError struct {
	ChannelARN string `json:"channelArn"`
	ViewerID   string `json:"viewerId"`
	Code       string `json:"code"` // an HTTP status in digits
	Message    string `json:"message"`
}
