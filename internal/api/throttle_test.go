package api_test

import (
	"testing"
	"time"
)

// With --throttle each operation takes as many calls a second as the published
// rates say, for each account and region, and no more.
func TestThrottle(t *testing.T) {
	w := newOpenWorld(t)
	arn, _ := w.create(t, `{}`)
	now := t0
	w.Throttle, w.Now = true, func() time.Time { return now }
	allowed := func(call func() answer) (n int) {
		t.Helper()
		for ; n < 1000; n++ {
			if a := call(); a.status == 429 {
				if a.code(t) != "ThrottlingException" {
					t.Errorf("code %s", a.code(t))
				}
				return n
			}
		}
		return n
	}
	for operation, want := range map[string]int{"GetChannel": 5, "GetPlaybackKeyPair": 3, "InsertAdBreak": 1, "BatchStartViewerSessionRevocation": 2,
		"StartViewerSessionRevocation": 10, "CreateRecordingConfiguration": 3, "ListStreams": 5, "UpdateAdConfiguration": 3, "PutMetadata": 155} {
		call := func() answer { return w.post(t, operation, `{}`) } // a call that is refused counts too
		if n := allowed(call); n != want {
			t.Errorf("%s: %d calls at once, want %d", operation, n, want)
		}
		now = now.Add(time.Second/time.Duration(want) + 1)
		if n := allowed(call); n != 1 {
			t.Errorf("%s: %d calls a moment later, want 1", operation, n)
		}
		now = now.Add(time.Hour)
		if n := allowed(call); n != want {
			t.Errorf("%s: %d calls an hour later, want %d", operation, n, want)
		}
	}
	tags := func() answer { return w.send(t, "GET", "/tags/"+arn, ``) }
	if n := allowed(tags); n != 10 {
		t.Errorf("ListTagsForResource: %d calls, want 10", n)
	}
	now = now.Add(time.Hour)
	put := func(arn string) func() answer {
		return func() answer { return w.post(t, "PutMetadata", `{"channelArn":"`+arn+`","metadata":"m"}`) }
	}
	for _, arn := range []string{arn, arn + "x"} {
		if n := allowed(put(arn)); n != 5 {
			t.Errorf("PutMetadata: %d calls for one channel, want 5", n)
		}
	}
}
