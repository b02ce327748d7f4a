//go:build !linux

package bucket

// uncache does nothing: it is a matter of speed.
func uncache(string) {}
