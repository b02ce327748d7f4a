package ivs

// Limits, as IVS Limit Breach events name them.
const (
	LimitIngestBitrate        = "Ingest Bitrate"
	LimitIngestResolution     = "Ingest Resolution"
	LimitConcurrentBroadcasts = "Concurrent Broadcasts"
	LimitConcurrentViewers    = "Concurrent Viewers"
)

// Units of the limits, as those events name them. Resolution has two limits.
const (
	UnitBits        = "bits per second"
	UnitTotalPixels = "total pixels"
	UnitEdge        = "pixels per edge"
	UnitStreams     = "active streams"
	UnitViewers     = "viewers"
)

// Codes of Stream Takeover Failure.
const (
	CodeTakeoverMediaMismatch   = "StreamTakeoverMediaMismatch"
	CodeTakeoverInvalidPriority = "StreamTakeoverInvalidPriority"
	CodeTakeoverLimitBreached   = "StreamTakeoverLimitBreached"
)
