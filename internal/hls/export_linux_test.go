package hls

// MappedFiles is how many files are mapped.
func MappedFiles() int64 { return mappedFiles.Load() }
