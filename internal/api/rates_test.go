package api

import (
	"strconv"
	"testing"
	"time"
)

// However many callers there are, few are remembered, and those that are full
// again go first.
func TestRatesAreBounded(t *testing.T) {
	var r rates
	now := time.Date(2026, 5, 1, 9, 0, 0, 0, time.UTC)
	for i := range 3 * maxRates {
		now = now.Add(time.Millisecond)
		if !r.allow(caller{channel: strconv.Itoa(i)}, 1, now) {
			t.Fatalf("the first call of caller %d is refused", i)
		}
		if len(r.buckets) > maxRates {
			t.Fatalf("%d callers are remembered", len(r.buckets))
		}
	}
	if r.allow(caller{channel: strconv.Itoa(3*maxRates - 1)}, 1, now) {
		t.Error("the last caller is forgotten")
	}
}
