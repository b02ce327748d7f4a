package main

import "os"

func killProcess(pid int) {
	if p, err := os.FindProcess(pid); err == nil {
		p.Kill()
	}
}

func suspend(int) { panic("Windows has no call that suspends a process") }

// gone reports whether no process has that number.
func gone(pid int) bool {
	_, err := os.FindProcess(pid)
	return err != nil
}
