//go:build unix

package main

import "syscall"

func killProcess(pid int) { syscall.Kill(pid, syscall.SIGKILL) }

func suspend(pid int) { syscall.Kill(pid, syscall.SIGSTOP) }

// gone reports whether no process has that number.
func gone(pid int) bool { return syscall.Kill(pid, 0) == syscall.ESRCH }
