package event

// IsPublic is isPublic.
var IsPublic = isPublic

// MaxReaders is maxReaders.
const MaxReaders = maxReaders
