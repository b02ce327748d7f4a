package event

import (
	"errors"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
)

// By default an event is given up when it is refused for the 40th time, or when it
// fails after a day, and no sooner.
func TestGivenUp(t *testing.T) {
	const day = 24 * time.Hour
	for name, tt := range map[string]struct {
		attempts int
		age      time.Duration
		err      error
		givenUp  bool
	}{
		"refused 39 times":         {39, day - time.Minute, errRefused, false},
		"refused 40 times":         {40, 0, errRefused, true},
		"failed 1,000 times":       {1000, day - time.Minute, errors.New("500"), false},
		"out of reach for a day":   {2, day + time.Minute, errUnreachable, true},
		"failed once after a day":  {1, day + time.Minute, errors.New("500"), true},
		"refused once after a day": {1, day + time.Minute, errRefused, true},
	} {
		event := ivs.Event{ID: name, Time: time.Now().Add(-tt.age)}
		res := result{Delivery: store.Delivery{Attempts: tt.attempts - 1, Lane: store.Lane{Events: []store.FeedEvent{{Event: event}}}}}
		(&runner{Dispatcher: &Dispatcher{}}).fail(&res, tt.err)
		switch wait := time.Until(res.Due); {
		case (res.Dead != nil) != tt.givenUp:
			t.Errorf("%s: given up is %t", name, res.Dead != nil)
		case tt.givenUp && (res.Dead.Event.ID != name || res.Dead.Attempts != tt.attempts || res.Sent != 1 || res.Attempts != 0):
			t.Errorf("%s: %+v, dead letter %+v", name, res.Delivery, res.Dead)
		case !tt.givenUp && (res.Attempts != tt.attempts || res.Sent != 0 || wait > maxWait):
			t.Errorf("%s: %+v, tried again in %v", name, res.Delivery, wait)
		}
	}
}
