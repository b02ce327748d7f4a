package store

import (
	"path/filepath"
	"strings"
	"testing"
)

// What the dispatcher does costs as much as it does, however long the history is:
// nothing passes by every event, or every lane.
func TestOutboxUsesIndexes(t *testing.T) {
	ctx := t.Context()
	db, err := Open(ctx, filepath.Join(t.TempDir(), "x.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	s := Scope{"1", "r"}
	db.Feed(ctx, FeedFilter{Scope: s}, 5, 10) // the feed is empty, so this reads its end only
	db.FeedEventByID(ctx, s, "id")
	db.NumberEvents(ctx)
	db.RecordAndClaim(ctx, Claim{Target: "t"})
	queries := []string{numberUnnumbered, fillLanes, dueLanes + "attempts = 0 ORDER BY due, after_feed LIMIT ?", firstEvents(3),
		"SELECT " + feedColumns + " FROM events e WHERE e.feed > 0 AND e.feed > ? AND e.feed <= ? AND e.account = ? AND e.region = ? ORDER BY e.feed LIMIT ?"}
	for q := range db.stmts {
		queries = append(queries, q)
	}
	if len(queries) < 9 {
		t.Fatalf("only %d statements are looked at", len(queries))
	}
	for _, q := range queries {
		args := make([]any, strings.Count(q, "?"))
		for i := range args {
			args[i] = 1
		}
		plan, err := db.write.QueryContext(ctx, "EXPLAIN QUERY PLAN "+q, args...)
		if err != nil {
			t.Fatal(err)
		}
		for plan.Next() {
			var id, parent, unused int
			var step string
			if err := plan.Scan(&id, &parent, &unused, &step); err != nil {
				t.Fatal(err)
			}
			// An index on what has no number is gone through whole, and so is
			// what the subquery e has found.
			for _, table := range []string{"events", "e", "x", "o", "outbox"} {
				fine := strings.Contains(step, "events_unnumbered") || table == "e" && strings.Contains(q, ") AS e ")
				if strings.HasPrefix(step+" ", "SCAN "+table+" ") && !fine {
					t.Errorf("%s\n%s", step, q)
				}
			}
		}
		plan.Close()
	}
}
