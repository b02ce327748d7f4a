package store_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/store/storetest"
)

func TestMain(m *testing.M) {
	if path := os.Getenv("STORE_TEST_WRITER"); path != "" {
		os.Exit(writeForever(path))
	}
	os.Exit(storetest.Main(m))
}

var (
	here = store.Scope{Account: "123456789012", Region: "eu-west-1"}
	t0   = time.Date(2026, 5, 1, 9, 3, 5, 0, time.UTC)
)

func at(seconds int) time.Time { return t0.Add(time.Duration(seconds) * time.Second) }

func newChannel(s store.Scope, name string) ivs.Channel {
	c := ivs.NewChannel(s.Account, s.Region)
	c.Name = name
	return c
}

func newKey(s store.Scope, channelARN string) ivs.StreamKey {
	return ivs.NewStreamKey(s.Account, s.Region, channelARN)
}

// Rows that most tests begin with.
var (
	addChannel = storetest.Channel
	addSession = storetest.Session
)

// must fails the test on the first error.
var must = storetest.Must

// wantKind requires err to be an ivs.Error of that kind.
func wantKind(t testing.TB, what string, err error, want ivs.Kind) {
	t.Helper()
	if !ivs.Is(err, want) {
		t.Errorf("%s = %v, want %v", what, err, want)
	}
}

// ended is the end of a session that left no more than that.
func ended(streamID string, at time.Time) store.End {
	return store.End{StreamID: streamID, Left: at, Ended: at}
}

// happened is an event of a session.
func happened(streamID string, e store.Event) []store.SessionChange {
	return []store.SessionChange{{StreamID: streamID, Health: ivs.HealthUnknown, Events: []store.Event{e}}}
}

// events renders a history, oldest first, as "name@seconds since t0[/code]".
func events(t testing.TB, db *store.DB, channelARN, streamID string) (list []string) {
	t.Helper()
	s, err := db.StreamSession(context.Background(), channelARN, streamID)
	if err != nil {
		t.Fatal(err)
	}
	for i := len(s.TruncatedEvents) - 1; i >= 0; i-- {
		e := s.TruncatedEvents[i]
		line := fmt.Sprintf("%s@%d", e.Name, int(e.EventTime.Sub(t0).Seconds()))
		if e.Code != "" {
			line += "/" + e.Code
		}
		list = append(list, line)
	}
	return list
}
