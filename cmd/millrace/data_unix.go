//go:build unix

package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// lockFile locks f until it is closed, or fails if another process has done so.
func lockFile(f *os.File) error {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}

// fileNumber is the number of f on this machine.
func fileNumber(f *os.File) (string, error) {
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "", errors.New("the file system gives files no numbers")
	}
	return fmt.Sprintf("%d %d", stat.Dev, stat.Ino), nil
}
