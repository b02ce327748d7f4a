package bucket

import (
	"os"

	"golang.org/x/sys/unix"
)

// uncache has the kernel keep no copy in memory of a file that is on disk: what is
// recorded is rarely read soon, and the pages are wanted for what is recorded next.
func uncache(name string) {
	f, err := os.Open(name)
	if err != nil {
		return
	}
	defer f.Close()
	_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) // advice: nothing depends on it
}
