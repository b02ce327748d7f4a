package live

import (
	"fmt"
	"testing"
	"time"
)

// However many keys are used, few are remembered. Only the package itself sees how many.
func TestPacerIsBounded(t *testing.T) {
	var p pacer
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	for n := range maxPaced + 1000 {
		p.began(fmt.Sprint(n), now)
	}
	if len(p.paid) != maxPaced {
		t.Errorf("%d keys are remembered, want %d", len(p.paid), maxPaced)
	}
	now = now.Add(time.Minute)
	for n := range maxPaced {
		p.began(fmt.Sprint("later ", n%100), now)
	}
	if len(p.paid) > maxPaced {
		t.Errorf("%d keys are remembered", len(p.paid))
	}
	for n := range 20_000 {
		p.began(fmt.Sprint("much later ", n), now.Add(time.Duration(n)*time.Minute))
	}
	if len(p.paid) > 1000 {
		t.Errorf("%d keys are remembered that are made up for", len(p.paid))
	}
}
