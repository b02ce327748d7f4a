//go:build !linux

package playback

import "net"

// FastListener returns l as it is: here media is copied through the process.
func FastListener(l net.Listener) net.Listener { return l }
