package main

import (
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"

	"github.com/millrace/millrace/internal/store/storetest"
)

// Requests for public recordings that the database does not answer, for channels
// that there may be, take none of it from others: two wait for it, and the rest
// for them.
func TestRecordingLookups(t *testing.T) {
	t.Parallel()
	dsn := storetest.Postgres(t)
	s := startServer(t, "", "--database", dsn, "--recordings-public")
	lock := storetest.Hold(t, dsn, "LOCK TABLE channels IN ACCESS EXCLUSIVE MODE")
	var readers sync.WaitGroup
	var mu sync.Mutex
	answers := map[int]int{}
	for n := range 100 {
		readers.Go(func() {
			status, _, err := fetch(t.Context(), fmt.Sprintf("%s/recordings/b/ivs/v1/123456789012/channel%05d/2026/1/2/3/4/abcdefghijkl/media/hls/master.m3u8", s.api, n/2))
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			answers[status]++
		})
	}
	wait(t, "look-ups to wait for the database", func() bool { return lock.Waiting() > 0 })
	wait(t, "all requests to be there", func() bool {
		_, _, text := get(t, s.api+"/metrics")
		return metric(t, text, "millrace_recording_requests_in_flight") == 100
	})
	most := 0
	for range 20 {
		most = max(most, lock.Waiting())
		if _, err := s.ivs().ListRecordingConfigurations(t.Context(), &awsivs.ListRecordingConfigurationsInput{MaxResults: aws.Int32(1)}); err != nil {
			t.Errorf("meanwhile, the operator: %v", err)
		}
	}
	if most > 2 {
		t.Errorf("%d look-ups have a connection, want 2", most)
	}
	lock.Release()
	readers.Wait()
	if answers[http.StatusForbidden]+answers[http.StatusServiceUnavailable] != 100 { // on a slow machine some have waited for too long
		t.Errorf("the answers are %v, want 403", answers)
	}
}
