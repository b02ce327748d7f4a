package ivs

// Values of RecordingConfiguration.State.
const (
	RecordingCreating     = "CREATING" // its bucket is being checked
	RecordingActive       = "ACTIVE"
	RecordingCreateFailed = "CREATE_FAILED" // its bucket cannot be written to
)

// Values of ThumbnailConfiguration.
const (
	ThumbnailsInterval = "INTERVAL" // the default
	ThumbnailsDisabled = "DISABLED"

	ThumbnailsSequential = "SEQUENTIAL" // the default: numbered files
	ThumbnailsLatest     = "LATEST"     // one file that is overwritten
)

// Values of RenditionConfiguration.
const (
	RenditionsAll    = "ALL" // the default
	RenditionsNone   = "NONE"
	RenditionsCustom = "CUSTOM"

	ResolutionLowest = "LOWEST_RESOLUTION"
)

// A RecordingConfiguration says where and how streams are recorded. Only its state and
// tags can change.
type RecordingConfiguration struct {
	ARN                      string                   `json:"arn"`
	Name                     string                   `json:"name"`
	DestinationConfiguration DestinationConfiguration `json:"destinationConfiguration"`
	State                    string                   `json:"state"`
	Tags                     map[string]string        `json:"tags"` // never nil
	ThumbnailConfiguration   ThumbnailConfiguration   `json:"thumbnailConfiguration,omitzero"`
	ReconnectWindowSeconds   int                      `json:"recordingReconnectWindowSeconds"` // 0 to 300: streams that close up share a recording
	RenditionConfiguration   RenditionConfiguration   `json:"renditionConfiguration,omitzero"`
}

// Resource returns c as a Resource.
func (c *RecordingConfiguration) Resource() Resource { return Resource{c.ARN, "", &c.Tags} }

// A RecordingConfigurationSummary is a RecordingConfiguration as lists show it.
type RecordingConfigurationSummary struct {
	ARN                      string                   `json:"arn"`
	Name                     string                   `json:"name"`
	DestinationConfiguration DestinationConfiguration `json:"destinationConfiguration"`
	State                    string                   `json:"state"`
	Tags                     map[string]string        `json:"tags"`
}

// Summary returns c as lists show it.
func (c RecordingConfiguration) Summary() RecordingConfigurationSummary {
	return RecordingConfigurationSummary{c.ARN, c.Name, c.DestinationConfiguration, c.State, c.Tags}
}

// A DestinationConfiguration names the bucket of a recording.
type DestinationConfiguration struct {
	S3 struct {
		BucketName string `json:"bucketName"`
	} `json:"s3"`
}

// A ThumbnailConfiguration says which thumbnails a recording gets.
type ThumbnailConfiguration struct {
	RecordingMode         string   `json:"recordingMode,omitempty"`
	TargetIntervalSeconds int      `json:"targetIntervalSeconds,omitempty"` // 1 to 60; 0 when disabled
	Resolution            string   `json:"resolution,omitempty"`            // "" means the source's
	Storage               []string `json:"storage,omitempty"`
}

// IsZero reports whether c is empty.
func (c ThumbnailConfiguration) IsZero() bool {
	return c.RecordingMode == "" && c.TargetIntervalSeconds == 0 && c.Resolution == "" && len(c.Storage) == 0
}

// A RenditionConfiguration says which renditions are recorded.
type RenditionConfiguration struct {
	RenditionSelection string   `json:"renditionSelection,omitempty"`
	Renditions         []string `json:"renditions,omitempty"` // of a CUSTOM selection
}

// IsZero reports whether c is empty.
func (c RenditionConfiguration) IsZero() bool {
	return c.RenditionSelection == "" && len(c.Renditions) == 0
}
