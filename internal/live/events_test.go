package live_test

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/goldentest"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/live"
	"github.com/millrace/millrace/internal/media/mediatest"
	"github.com/millrace/millrace/internal/store"
)

// A scripted broadcast has every event that a broadcast without renditions can
// have, each as EventBridge would deliver it.
func TestScriptedEvents(t *testing.T) {
	bubble(t, ivs.TypeStandard, live.Limits{Streams: 1, Views: 1}, func(w *world) {
		first := w.publish(w.key, "")
		first.mustSend(3 * sec)
		_, key := w.addChannel(ivs.TypeStandard)
		_, err := w.dial(key, "", mediatest.Ordered)
		w.refused(err, "1 streams are live")
		_, err = w.dial(w.key, "?priority=0", mediatest.Ordered)
		w.refused(err, "A priority is")
		cut := make(chan error, 1)
		go func() { cut <- first.Send(20 * sec) }()
		e, err := w.dial(w.key, "?priority=1", mediatest.Ordered)
		if err != nil {
			w.Fatal(err)
		}
		e.announce("second encoder")
		e.mustSend(4 * sec)
		w.refused(<-cut, "taken over")
		if err := w.InsertAdBreak(w.Context(), w.channel.ARN, "wFDQ2ygc1Km6", 30*sec); err != nil {
			w.Error(err)
		}
		s := w.LiveSession(w.channel.ARN)
		s.Viewers.Seen(1, 1, time.Now())
		e.mustSend(2 * sec)
		if w.AdmitView(w.Context(), s.Channel.ARN) {
			w.Error("a viewer too many is let in")
		}
		time.Sleep(6 * sec)
		e.mustSend(10 * sec)
		if err := w.fault(live.FaultBitrateLimit, 5*sec); err != nil {
			w.Error(err)
		}
		w.refused(e.Send(5*sec), "this channel takes at most 8.50")

		e = w.publish(w.key, "")
		e.mustSend(3 * sec)
		if err := w.fault(live.FaultResolutionLimit, 5*sec); err != nil {
			w.Error(err)
		}
		w.refused(e.Send(5*sec), "The video is 3840x")
		time.Sleep(sec)

		goldentest.Check(w.T, "testdata/events.jsonl", []byte(w.feed()))
	})
}

// feed is all events, one JSON a line, with ids that are the same in each run.
func (w *world) feed() string {
	w.Helper()
	if _, err := w.Store.NumberEvents(w.Context()); err != nil {
		w.Fatal(err)
	}
	events, _, err := w.Store.Feed(w.Context(), store.FeedFilter{Scope: here}, 0, 100)
	if err != nil {
		w.Fatal(err)
	}
	var lines strings.Builder
	for _, e := range events {
		line, err := json.Marshal(e.Event)
		if err != nil {
			w.Fatal(err)
		}
		lines.Write(append(line, '\n'))
	}
	text := lines.String()
	for kind, pattern := range map[string]string{
		"event-": `[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`, "stream-": `st-1[0-9A-Za-z]{22}`, ":channel/": `:channel/[0-9A-Za-z]{12}`,
	} {
		seen := map[string]string{}
		text = regexp.MustCompile(pattern).ReplaceAllStringFunc(text, func(id string) string {
			if seen[id] == "" {
				seen[id] = fmt.Sprint(kind, len(seen)+1)
			}
			return seen[id]
		})
	}
	return text
}

// An ad break that viewers have is recorded, even if the database does not take it
// at that moment.
func TestAdBreakWhileTheDatabaseIsAway(t *testing.T) {
	bubble(t, ivs.TypeStandard, live.Limits{}, func(w *world) {
		e := w.publish(w.key, "")
		e.mustSend(3 * sec)
		write := w.holdDatabase()
		ctx, cancel := context.WithTimeout(w.Context(), 2*sec)
		defer cancel()
		if err := w.InsertAdBreak(ctx, w.channel.ARN, "wFDQ2ygc1Km6", 30*sec); err != nil {
			w.Errorf("a break that cannot be written yet: %v", err)
		}
		if err := w.InsertAdBreak(w.Context(), w.channel.ARN, "xFDQ2ygc1Km6", 30*sec); !ivs.Is(err, ivs.Conflict) {
			w.Errorf("another break meanwhile: %v", err)
		}
		write()
		e.mustSend(8 * sec)
		e.leave()
		if n := strings.Count(w.feed(), ivs.AdBreakInserted); n != 1 {
			w.Errorf("the history has %d events %q, want 1", n, ivs.AdBreakInserted)
		}
	})
}
