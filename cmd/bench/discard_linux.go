package main

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// recvTrunc drops up to n bytes of a TCP connection without copying them:
// tcp(7), MSG_TRUNC.
func recvTrunc(fd int, buf []byte, n int64) (int, error) {
	got, _, errno := syscall.Syscall6(syscall.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&buf[0])), uintptr(n), unix.MSG_TRUNC|unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(got), nil
}
