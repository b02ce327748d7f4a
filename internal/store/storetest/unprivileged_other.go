//go:build !linux

package storetest

import "syscall"

// unprivileged is how to run the server: as this user, who is not root.
func unprivileged(string) (*syscall.SysProcAttr, error) { return &syscall.SysProcAttr{}, nil }
