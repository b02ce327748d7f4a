//go:build unix

package main

import (
	"bytes"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/miekg/dns"

	"github.com/millrace/millrace/internal/logs/logstest"
	"github.com/millrace/millrace/internal/wiretest"
)

// A nameServer resolves any name to this machine, once it knows names.
type nameServer struct {
	address string
	knows   atomic.Bool
	asked   atomic.Int64
}

func startNameServer(t *testing.T) *nameServer {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &nameServer{address: pc.LocalAddr().String()}
	server := &dns.Server{PacketConn: pc, Handler: n}
	ended := make(chan error, 1)
	go func() { ended <- server.ActivateAndServe() }()
	t.Cleanup(func() {
		pc.Close()
		<-ended
	})
	return n
}

func (n *nameServer) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	a := new(dns.Msg).SetReply(q)
	switch {
	case !n.knows.Load():
		a.Rcode = dns.RcodeNameError
	case q.Question[0].Qtype == dns.TypeA:
		a.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 1}, A: net.IPv4(127, 0, 0, 1)}}
	}
	n.asked.Add(1)
	w.WriteMsg(a)
}

// startHAProxy runs HAProxy with its example in front of the nodes, before their names
// have addresses, as docker compose may do. It returns the URL of what serves HTTP.
func (c *testCluster) startHAProxy(t *testing.T) (front string) {
	t.Helper()
	text, err := os.ReadFile("../../examples/cluster/haproxy.cfg")
	if err != nil {
		t.Fatal(err)
	}
	names, address := startNameServer(t), wiretest.FreeAddress(t)
	replace := []string{"maxconn 50000", "maxconn 500", // which needs no privileges
		"parse-resolv-conf", "nameserver test " + names.address, "bind :8080", "bind " + address, "bind :1935", "bind " + wiretest.FreeAddress(t)}
	for i, n := range c.nodes {
		name, port := "node"+string(rune('1'+i)), n.api[strings.LastIndexByte(n.api, ':')+1:]
		rtmp := n.rtmp[strings.LastIndexByte(n.rtmp, ':')+1:]
		replace = append(replace, name+":8080", name+":"+port, name+":1935 port 8080", name+":"+rtmp+" port "+port)
	}
	for i := 0; i < len(replace); i += 2 {
		if !bytes.Contains(text, []byte(replace[i])) {
			t.Fatalf("the example has no %q", replace[i])
		}
	}
	file := filepath.Join(t.TempDir(), "haproxy.cfg")
	if err := os.WriteFile(file, []byte(strings.NewReplacer(replace...).Replace(string(text))), 0o600); err != nil {
		t.Fatal(err)
	}
	said := &logstest.Buffer{}
	program := exec.Command("/usr/sbin/haproxy", "-db", "-f", file)
	program.Stdout, program.Stderr = said, said
	if err := program.Start(); err != nil {
		t.Fatalf("%v (make test installs it)", err)
	}
	t.Cleanup(func() {
		program.Process.Signal(syscall.SIGKILL)
		program.Wait()
		if t.Failed() {
			t.Logf("HAProxy said:\n%s", said)
		}
	})
	front = "http://" + address
	wait(t, "HAProxy without a node", func() bool {
		status, _, err := fetch(t.Context(), front+"/readyz")
		return err == nil && status == http.StatusServiceUnavailable && names.asked.Load() >= int64(len(c.nodes))
	})
	names.knows.Store(true)
	for _, path := range []string{"/readyz", "/readyz/playback"} {
		wait(t, "HAProxy to find the nodes", func() bool {
			status, _, err := fetch(t.Context(), front+path)
			return err == nil && status == http.StatusOK
		})
	}
	return front
}
