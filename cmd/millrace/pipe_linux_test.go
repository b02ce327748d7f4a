package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// shrinkPipe makes a pipe hold no more than a page, where that can be chosen.
func shrinkPipe(f *os.File) error {
	_, err := unix.FcntlInt(f.Fd(), unix.F_SETPIPE_SZ, 4096)
	return err
}
