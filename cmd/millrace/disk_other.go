//go:build !linux && !darwin && !freebsd

package main

// diskSpace is unknown here.
func diskSpace(string) (free, total int64) { return 0, 0 }
