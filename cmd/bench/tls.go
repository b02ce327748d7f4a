//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// certificateFile is the server's own certificate with its key, in its data folder.
const certificateFile = "tls.pem"

// tlsRounds is how often Millrace and nginx are measured in turn.
const tlsRounds = 3

// benchTLS measures low-latency viewers over HTTP/2 and TLS, and what one part
// costs Millrace and nginx, which serves it as a file in memory.
func benchTLS(ctx context.Context, b *bench, count int) error {
	s, ch, stop, err := startBroadcast(ctx, b, "LOW", "TS", "1280x720", "5900", "--https", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer stop()
	w, err := s.watched(ctx, "LOW", count, func(int) (channel, error) { return ch, nil })
	if err != nil {
		return err
	}
	name := fmt.Sprintf("%d viewers, LL-HLS over HTTP/2 and TLS, 6 Mbit/s", count)
	w.report(name)
	w.reportAges(name)
	certificate, err := os.ReadFile(filepath.Join(s.data, certificateFile))
	if err != nil {
		return err
	}
	v := &viewer{server: s, channel: ch}
	defer v.close()
	var ratios []float64
	for range tlsRounds {
		playlist, err := v.open(ctx)
		if err != nil {
			return err
		}
		uri := partURI(playlist, bytes.LastIndex(playlist, partTag))
		body, err := v.get(v.base+"/"+uri, true)
		if err != nil {
			return err
		}
		ours, err := hammer(ctx, b, s, s.process.Process.Pid, v.base+"/"+uri, "one part over HTTP/2 and TLS, again and again: Millrace", len(body))
		if err != nil {
			return err
		}
		theirs, err := hammerNginx(ctx, b, "one part over HTTP/2 and TLS, again and again: nginx", body, certificate)
		if err != nil {
			return err
		}
		if theirs == 0 {
			return errors.New("comparing with nginx: it is not installed")
		}
		ratios = append(ratios, float64(ours)/float64(theirs))
	}
	slices.Sort(ratios)
	report("one part over HTTP/2 and TLS: CPU, Millrace ÷ nginx, median of 3", "%.2f (%.2f to %.2f)", ratios[1], ratios[0], ratios[2])
	return nil
}
