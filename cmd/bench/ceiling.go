//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"golang.org/x/sys/unix"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/wiretest"
)

// benchCeiling has one part, and one segment, fetched as fast as one core gives
// them: from a live stream, and from nginx as files in memory, which copies
// nothing and decides nothing. nginx is left out where it is not installed.
func benchCeiling(ctx context.Context, b *bench) error {
	s, ch, stop, err := startBroadcast(ctx, b, "LOW", "TS", "1280x720", "5900")
	if err != nil {
		return err
	}
	defer stop()
	v := &viewer{server: s, channel: ch, keep: true}
	defer v.close()
	for _, kind := range []string{"part", "segment"} {
		playlist, err := v.open(ctx) // the newest: they stay for half a minute
		if err != nil {
			return err
		}
		uri := partURI(playlist, bytes.LastIndex(playlist, partTag))
		if kind == "segment" {
			list := uris(string(playlist))
			uri = list[len(list)-1]
		}
		body, err := v.get(v.base+"/"+uri, true)
		if err != nil {
			return err
		}
		if _, err := hammer(ctx, b, s, s.process.Process.Pid, v.base+"/"+uri, "one "+kind+", again and again: Millrace", len(body)); err != nil {
			return err
		}
		if _, err := hammerNginx(ctx, b, "one "+kind+", again and again: nginx", body, nil); err != nil {
			return err
		}
	}
	return nil
}

// hammerNginx does the same to nginx, pinned to the server's core, by HTTP/1.1
// or, with a certificate and its key (PEM), by HTTP/2 and TLS. Without nginx on
// the machine it reports nothing.
func hammerNginx(ctx context.Context, b *bench, name string, body, certificate []byte) (perRequest time.Duration, err error) {
	program, err := exec.LookPath("nginx")
	if err != nil {
		return 0, nil
	}
	folder, err := os.MkdirTemp("/dev/shm", "millrace-bench-nginx-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(folder)
	address, err := wiretest.FindAddress()
	if err != nil {
		return 0, err
	}
	peer, listen := &server{http: address}, address
	if certificate != nil {
		peer.https = address
		listen += fmt.Sprintf(" ssl http2; ssl_certificate %[1]s/tls.pem; ssl_certificate_key %[1]s/tls.pem; ssl_protocols TLSv1.3", folder)
	}
	config := fmt.Sprintf(`daemon off; master_process off; user root; pid %[1]s/pid; error_log stderr crit;
events { worker_connections 4096; }
http { access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000; server { listen %[2]s; root %[1]s; } }
`, folder, listen)
	file := filepath.Join(folder, "nginx.conf")
	if err := errors.Join(os.WriteFile(file, []byte(config), 0o644), os.WriteFile(filepath.Join(folder, "media.ts"), body, 0o644), os.WriteFile(filepath.Join(folder, "tls.pem"), certificate, 0o600), os.Chmod(folder, 0o755)); err != nil {
		return 0, err
	}
	nginx := exec.Command("taskset", "-c", fmt.Sprint(serverCore), program, "-c", file)
	nginx.Stderr = os.Stderr
	if err := nginx.Start(); err != nil {
		return 0, err
	}
	defer nginx.Wait()
	defer nginx.Process.Signal(unix.SIGTERM)
	if err := sleep(ctx, time.Second); err != nil {
		return 0, err
	}
	return hammer(ctx, b, peer, nginx.Process.Pid, "/media.ts", name, len(body))
}

// hammer has 64 connections to peer, whose process is pid, ask for path as fast
// as they can, and returns how long that process was busy for one request.
func hammer(ctx context.Context, b *bench, peer *server, pid int, path, name string, size int) (perRequest time.Duration, err error) {
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	askers := make([]*viewer, 64)
	failed := make(chan error, len(askers))
	var running sync.WaitGroup
	for i := range askers {
		v := &viewer{server: peer}
		askers[i] = v
		running.Go(func() {
			defer v.close()
			err := v.dial(ctx)
			for err == nil {
				_, err = v.get(path, false)
			}
			if ctx.Err() == nil {
				failed <- err
			}
		})
	}
	if err := sleep(ctx, time.Second); err != nil {
		return 0, err
	}
	for _, v := range askers {
		v.resetFigures()
	}
	from, err := usageOf(pid)
	if err != nil {
		return 0, err
	}
	if err := sleep(ctx, min(b.duration, 8*time.Second)); err != nil {
		return 0, err
	}
	to, err := usageOf(pid)
	if err != nil {
		return 0, err
	}
	var total figures
	for _, v := range askers {
		total.add(v.figures())
	}
	if err := b.profile(ctx, pid, name); err != nil {
		return 0, err
	}
	leave()
	running.Wait()
	seconds := to.at.Sub(from.at).Seconds()
	report(name, "%d KB: %.0f a second, %.1f Gbit/s, %.2f core", size/1000, float64(total.requests)/seconds, float64(total.bytes)*8/1e9/seconds, cores(from, to))
	select {
	case err := <-failed:
		return 0, err
	default:
		return (to.cpu - from.cpu) / time.Duration(max(total.requests, 1)), nil
	}
}
