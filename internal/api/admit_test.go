package api_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"
)

// Who has no key waits for nothing and takes nobody's place: 1,100 requests
// without their bodies, on 11 connections of HTTP/2 and on as many of HTTP/1.1
// as there are requests, and the operator on the same address is answered.
func TestStrangersDoNotShutOutTheOperator(t *testing.T) {
	w := newWorld(t)
	w.MaxCalls = 8
	srv := httptest.NewUnstartedServer(w.Server)
	srv.Config.Protocols = &http.Protocols{}
	srv.Config.Protocols.SetHTTP1(true)
	srv.Config.Protocols.SetUnencryptedHTTP2(true)
	srv.Config.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: 100}
	srv.Start()
	defer srv.Close()

	forged := "AWS4-HMAC-SHA256 Credential=AKIDSTRANGER/20260501/us-west-2/ivs/aws4_request, SignedHeaders=host, Signature=00"
	answers := make(chan int)
	h2c := &http.Protocols{}
	h2c.SetUnencryptedHTTP2(true)
	for range 11 {
		client := &http.Client{Transport: &http.Transport{Protocols: h2c}}
		defer client.CloseIdleConnections()
		// Each connection stands before its calls come: a hundred at once would dial
		// a hundred times, and a busy machine then misses the 2 s that SETTINGS may take.
		res, err := client.Post(srv.URL+"/ListChannels", "", nil)
		must(t, err)
		res.Body.Close()
		for i := range 100 {
			body, never := io.Pipe()
			defer never.Close()
			go func() {
				req, err := http.NewRequestWithContext(t.Context(), "POST", srv.URL+"/ListChannels", body)
				if err == nil && i%2 == 0 {
					req.Header.Set("Authorization", forged)
				}
				res, err := client.Do(req)
				if err != nil {
					answers <- 0
					return
				}
				res.Body.Close()
				answers <- res.StatusCode
			}()
		}
	}
	for range 50 { // HTTP/1.1 waits for the body before it answers, and the handler does not
		conn, err := net.Dial("tcp", srv.Listener.Addr().String())
		must(t, err)
		defer conn.Close()
		fmt.Fprintf(conn, "POST /ListChannels HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
	}
	opts := w.ivs.Options()
	opts.BaseEndpoint = &srv.URL
	operator := awsivs.New(opts)
	for range 20 {
		_, err := operator.ListChannels(t.Context(), &awsivs.ListChannelsInput{})
		must(t, err)
	}
	for range 1100 { // each is refused although its body never came
		if status := <-answers; status != 403 {
			t.Fatalf("a stranger is answered %d", status)
		}
	}
}

// A caller whose signature is wrong is none of the calls that are answered, and
// one that has its answer leaves its place.
func TestOnlyAuthenticatedCallsCount(t *testing.T) {
	w := newWorld(t)
	w.MaxCalls = 1
	for range 3 {
		wrong := signed(t, "POST", w.url+"/ListChannels", `{}`, keyID, secret+"x", "ivs", region, time.Now())
		if a := w.do(t, wrong); a.code(t) != "InvalidSignatureException" {
			t.Errorf("= %d %s", a.status, a.body)
		}
		right := signed(t, "POST", w.url+"/ListChannels", `{}`, keyID, secret, "ivs", region, time.Now())
		if a := w.do(t, right); a.status != 200 {
			t.Errorf("= %d %s", a.status, a.body)
		}
	}
}
