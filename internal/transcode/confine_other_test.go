//go:build !linux

package transcode

// takeTooMuchMemory takes none: there is no limit here to run into.
func takeTooMuchMemory() error { return nil }
