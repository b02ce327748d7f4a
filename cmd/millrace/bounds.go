package main

import (
	"net"
	"net/http"
	"sync"
)

// What the ports take at a time. docs/limits.md has all bounds.
const (
	maxRTMPConns = 8_192 // on RTMP, and as many on RTMPS
	maxHTTPConns = 16_384
	maxViews     = 20_000 // playback requests, most of which wait
	maxCalls     = 1_024  // API calls, each of which may have a body in memory
)

// A connLimit closes connections over a limit as soon as they are accepted.
// What is open may keep its place only as long as the server's timeouts allow.
type connLimit struct {
	max int

	mu   sync.Mutex
	open map[net.Conn]bool // guarded by mu
}

// watch is an http.Server's ConnState.
func (l *connLimit) watch(c net.Conn, state http.ConnState) {
	if state != http.StateNew && state != http.StateClosed && state != http.StateHijacked {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if state != http.StateNew {
		delete(l.open, c)
		return
	}
	if len(l.open) >= l.max {
		c.Close() // its goroutine sees that at its first read
		return
	}
	if l.open == nil {
		l.open = map[net.Conn]bool{}
	}
	l.open[c] = true
}

// connections is how many of most connections a port may hold, so that half of
// the process's descriptors are left for media and the other ports.
func connections(most, descriptors int) int { return max(min(most, descriptors/2), 1) }
