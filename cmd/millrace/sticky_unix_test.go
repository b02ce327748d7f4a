//go:build unix

package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/millrace/millrace/internal/logs/logstest"
	"github.com/millrace/millrace/internal/wiretest"
)

// A viewer counts on each node that serves it: so with the examples all that is about one
// viewer session goes to one of three nodes, also what a cache asks.
func TestViewersStayOnOneNode(t *testing.T) {
	t.Parallel()                                                    // it mostly waits
	ofPlayers, ofCaches := []string{""}, []string{"", "authorize/"} // below the playback root
	for name, tt := range map[string]struct {
		start startFront
		asked []string
	}{
		"nginx as a cache": {nginxCache, ofPlayers},
		"Varnish":          {varnishCache, ofPlayers},
		"HAProxy":          {haproxyFront, ofCaches},
		"nginx":            {nginxFront, ofCaches},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			nodesOf := map[string]map[int]bool{} // guarded by mu; by viewer session
			var nodes []string
			for i := range 3 {
				node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if m := sessionPath.FindStringSubmatch(r.URL.Path); m != nil {
						mu.Lock()
						defer mu.Unlock()
						if nodesOf[m[2]] == nil {
							nodesOf[m[2]] = map[int]bool{}
						}
						nodesOf[m[2]][i] = true
						if m[1] != "" {
							w.WriteHeader(http.StatusNoContent)
						}
					}
				}))
				t.Cleanup(node.Close)
				nodes = append(nodes, strings.TrimPrefix(node.URL, "http://"))
			}
			front := "http://" + tt.start.run(t, name, nodes)
			used := map[int]bool{}
			for viewer := range 30 {
				for file := range 3 {
					for _, kind := range tt.asked {
						path := fmt.Sprintf("/api/video/v1/%schannel/viewer%d/st-1/source/%d.ts", kind, viewer, file)
						if status, _, err := fetch(t.Context(), front+path); err != nil || status >= 300 {
							t.Fatalf("GET %s: %d, %v", path, status, err)
						}
					}
				}
			}
			mu.Lock()
			defer mu.Unlock()
			for viewer, of := range nodesOf {
				if len(of) != 1 {
					t.Errorf("%s is on %d nodes", viewer, len(of))
				}
				for i := range of {
					used[i] = true
				}
			}
			if len(nodesOf) != 30 || len(used) < 2 {
				t.Errorf("%d viewers are on %d nodes", len(nodesOf), len(used))
			}
		})
	}
}

var sessionPath = regexp.MustCompile(`^/api/video/v1/(authorize/)?channel/(viewer\d+)/`)

// A startFront is a balancer or a cache in front of servers, that is to listen at an address.
type startFront func(t *testing.T, servers []string, address string) *exec.Cmd

// run runs it, and returns its address when it serves.
func (start startFront) run(t *testing.T, name string, servers []string) (address string) {
	t.Helper()
	address = wiretest.FreeAddress(t)
	program := start(t, servers, address)
	said := &logstest.Buffer{}
	program.Stdout, program.Stderr = said, said
	program.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := program.Start(); err != nil {
		t.Fatalf("%v (make test installs it)", err)
	}
	t.Cleanup(func() {
		syscall.Kill(-program.Process.Pid, syscall.SIGKILL) // its own group; it may have gone
		program.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", name, said)
		}
	})
	wait(t, name, func() bool { c, err := net.Dial("tcp", address); return err == nil && c.Close() == nil })
	wait(t, name+" to find all nodes", func() bool {
		status, _, err := fetch(t.Context(), "http://"+address+"/readyz/playback")
		return err == nil && status == http.StatusOK
	})
	return address
}

// clusterExample is a configuration of examples/cluster with these nodes.
func clusterExample(t *testing.T, name string, nodes []string, change func(string) string) (file string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../examples/cluster", name))
	if err != nil {
		t.Fatal(err)
	}
	config := change(string(text))
	for i, node := range nodes {
		config = strings.ReplaceAll(config, fmt.Sprintf("node%d:8080", i+1), node)
	}
	file = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func haproxyFront(t *testing.T, nodes []string, address string) *exec.Cmd {
	encoders := regexp.MustCompile(`(?s)\nlisten rtmp\n.*?\n\n`)
	file := clusterExample(t, "haproxy.cfg", nodes, func(config string) string {
		return strings.NewReplacer("maxconn 50000", "maxconn 500", "init-addr none", "", "bind :8080", "bind "+address).Replace(encoders.ReplaceAllString(config, "\n"))
	})
	return exec.Command("/usr/sbin/haproxy", "-db", "-f", file)
}

func nginxFront(t *testing.T, nodes []string, address string) *exec.Cmd {
	encoders := regexp.MustCompile(`(?s)\nstream \{.*?\n\}\n`)
	dir := t.TempDir()
	file := clusterExample(t, "nginx.conf", nodes, func(config string) string {
		return strings.NewReplacer("listen 8080;", "listen "+address+";", "http {", "http { access_log off; "+temporaryFolders(dir)).Replace(encoders.ReplaceAllString(config, "\n"))
	})
	return nginxProgram(file, dir)
}
