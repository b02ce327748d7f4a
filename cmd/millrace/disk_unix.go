//go:build linux || darwin || freebsd

package main

import "golang.org/x/sys/unix"

// diskSpace is how many bytes of a folder's file system are free for this process,
// and how many there are; 0 of 0 is unknown.
func diskSpace(folder string) (free, total int64) {
	var fs unix.Statfs_t
	if err := unix.Statfs(folder, &fs); err != nil {
		return 0, 0
	}
	return int64(fs.Bavail) * int64(fs.Bsize), int64(fs.Blocks) * int64(fs.Bsize)
}
