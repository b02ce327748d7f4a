package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/store/storetest"
)

// A name is one server's at a time. A start at the same place follows at once, as
// after a crash; one at another place must wait while the first may be running.
func TestNode(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		here, copied := store.Node{Name: "n", Place: "here", Host: "a"}, store.Node{Name: "n", Place: "elsewhere", Host: "b"}
		first, err := db.RegisterNode(t.Context(), here)
		must(t, err)
		second, err := db.RegisterNode(t.Context(), here)
		must(t, err)
		if second <= first {
			t.Errorf("epochs %d, then %d", first, second)
		}
		if _, err := db.NodeHeartbeat(t.Context(), "n", first, store.NodeReport{}); !errors.Is(err, store.ErrNodeReplaced) {
			t.Errorf("heartbeat of the first start: %v", err)
		}
		now, err := db.NodeHeartbeat(t.Context(), "n", second, store.NodeReport{})
		must(t, err)
		if off := time.Since(now).Abs(); off > time.Minute {
			t.Errorf("the database's clock is %v off", off)
		}
		var used *store.NodeInUseError
		if _, err := db.RegisterNode(t.Context(), copied); !errors.As(err, &used) || used.Host != "a" || used.Ago < 0 || used.Ago > store.NodeLease {
			t.Errorf("start of a copy: %v", err)
		}
		if _, err := db.StopNode(t.Context(), "n", first); !errors.Is(err, store.ErrNodeReplaced) {
			t.Errorf("the first start stops: %v", err)
		}
		_, err = db.StopNode(t.Context(), "n", second)
		must(t, err)
		third, err := db.RegisterNode(t.Context(), copied)
		if err != nil || third <= second {
			t.Errorf("after a stop, epoch %d, %v", third, err)
		}
	})
}

// A member of the cluster is what it has announced, until it stops. Its sessions
// can be ended only while its number of heartbeats stays as it was seen.
func TestMembers(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		epoch, err := db.RegisterNode(t.Context(), store.Node{Name: "n", Place: "here", Host: "a"})
		must(t, err)
		members := func(want int) []store.Member {
			t.Helper()
			list, err := db.Members(t.Context())
			must(t, err)
			if len(list) != want {
				t.Fatalf("members %+v, want %d", list, want)
			}
			return list
		}
		members(0)
		must(t, db.JoinCluster(t.Context(), "n", epoch, store.Membership{URL: "http://a:8080", Version: "1.2", Protocol: 3, Capacity: 40}))
		before := members(1)[0]
		_, err = db.NodeHeartbeat(t.Context(), "n", epoch, store.NodeReport{Streams: 5, Viewers: 6, Draining: true, Credentials: "some"})
		must(t, err)
		after := members(1)[0]
		after.Ago = 0
		want := store.Member{Name: "n", Host: "a", Membership: store.Membership{URL: "http://a:8080", Version: "1.2", Protocol: 3, Capacity: 40},
			NodeReport: store.NodeReport{Streams: 5, Viewers: 6, Draining: true, Credentials: "some"}, Epoch: epoch, Heartbeats: before.Heartbeats + 1}
		if diff := cmp.Diff(want, after); diff != "" {
			t.Error(diff)
		}

		c, _ := addChannel(t, db, here, "c")
		id := addSession(t, db, c.ARN, "n", at(0))
		if s, ok, err := db.OwnedStream(t.Context(), c.ARN); err != nil || !ok || s != (store.OwnedStream{StreamID: id, ChannelARN: c.ARN, Owner: "n"}) {
			t.Errorf("OwnedStream = %+v, %v, %v", s, ok, err)
		}
		if list, err := db.OwnedStreams(t.Context()); err != nil || len(list) != 1 {
			t.Errorf("OwnedStreams = %+v, %v", list, err)
		}
		if ended, err := db.EndSessionsOfNode(t.Context(), "n", before.Heartbeats); err != nil || len(ended) != 0 {
			t.Errorf("of a node that has reported since: %v, %v", ended, err)
		}
		if ended, err := db.EndSessionsOfNode(t.Context(), "n", after.Heartbeats); err != nil || len(ended) != 1 || ended[0] != id {
			t.Errorf("of a node that is silent: %v, %v", ended, err)
		}
		if _, ok, err := db.OwnedStream(t.Context(), c.ARN); err != nil || ok {
			t.Errorf("OwnedStream of a session that has ended: %v, %v", ok, err)
		}

		// What it leaves open is ended when it stops, and not by an earlier start of its own.
		id = addSession(t, db, c.ARN, "n", at(5))
		if ended, err := db.StopNode(t.Context(), "n", epoch-1); !errors.Is(err, store.ErrNodeReplaced) || len(ended) != 0 {
			t.Errorf("an earlier start stops: %v, %v", ended, err)
		}
		if ended, err := db.StopNode(t.Context(), "n", epoch); err != nil || !slices.Equal(ended, []string{id}) {
			t.Errorf("StopNode ended %v, %v", ended, err)
		}
		members(0)
	})
}

// The rows of nodes that have not run for a week are deleted, but for those that have
// something open.
func TestOldNodes(t *testing.T) {
	storetest.EachDSN(t, func(t *testing.T, dsn string) {
		db := storetest.Open(t, dsn)
		c, _ := addChannel(t, db, here, "c")
		for _, n := range []string{"runs", "stopped", "stopped-long-ago", "dead", "dead-with-a-session"} {
			epoch, err := db.RegisterNode(t.Context(), store.Node{Name: n})
			must(t, err)
			if strings.HasPrefix(n, "stopped") {
				_, err = db.StopNode(t.Context(), n, epoch)
				must(t, err)
			}
		}
		id := addSession(t, db, c.ARN, "dead-with-a-session", at(0))
		execRaw(t, dsn, "UPDATE nodes SET heartbeat_at = 1 WHERE name LIKE 'dead%'", "UPDATE nodes SET heartbeat_at = -1 WHERE name = 'stopped-long-ago'")
		left := func() (names []string) {
			_, err := db.Cleanup(t.Context(), time.Now())
			must(t, err)
			for _, n := range []string{"runs", "stopped", "stopped-long-ago", "dead", "dead-with-a-session"} {
				epoch, err := db.RegisterNode(t.Context(), store.Node{Name: n}) // a name without a row begins with 1
				must(t, err)
				if epoch > 1 {
					names = append(names, n)
				}
			}
			return names
		}
		if got := left(); !slices.Equal(got, []string{"runs", "stopped", "dead-with-a-session"}) {
			t.Errorf("kept are %q", got)
		}
		must(t, db.WriteEnd(t.Context(), ended(id, at(1))))
		execRaw(t, dsn, "UPDATE nodes SET heartbeat_at = 1 WHERE name LIKE 'dead%'")
		if got := left(); slices.Contains(got, "dead-with-a-session") {
			t.Errorf("kept are %q", got)
		}
	})
}

// Nodes that ask for a secret at the same time get the same one. After a rotation
// they get both.
func TestSecret(t *testing.T) {
	storetest.EachDSN(t, func(t *testing.T, dsn string) {
		nodes := []*store.DB{storetest.Open(t, dsn), storetest.Open(t, dsn)}
		var got [8]store.Secret
		var all sync.WaitGroup
		for i := range got {
			all.Go(func() {
				var err error
				if got[i], err = nodes[i%2].Secret(context.Background(), "s", func() string { return fmt.Sprint("made by ", i) }); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		for _, s := range got {
			if s.Value == "" || s.Value != got[0].Value || s.Previous != "" {
				t.Errorf("%+v, and %+v", s, got[0])
			}
		}
		must(t, nodes[0].RotateSecret(t.Context(), "s", "new", time.Hour))
		wantKind(t, "a second rotation too early", nodes[1].RotateSecret(t.Context(), "s", "newer", time.Hour), ivs.Conflict)
		s, err := nodes[1].Secret(t.Context(), "s", nil)
		if err != nil || s.Value != "new" || s.Previous != got[0].Value || s.Age < 0 || s.Age > time.Minute {
			t.Errorf("after the rotation %+v, %v", s, err)
		}
		must(t, nodes[1].RotateSecret(t.Context(), "s", "newer", 0))
		if s, err := nodes[0].Secret(t.Context(), "s", nil); err != nil || s.Value != "newer" || s.Previous != "new" {
			t.Errorf("after the second rotation %+v, %v", s, err)
		}
		wantKind(t, "a secret that was never made", nodes[0].RotateSecret(t.Context(), "other", "new", 0), ivs.NotFound)
	})
}

// A SQLite file that is not whole, or not Millrace's, is refused with what to do,
// and stays as it is.
func TestDamagedFile(t *testing.T) {
	dsn := storetest.SQLite(t)
	db, err := store.Open(t.Context(), dsn)
	must(t, err)
	must(t, db.Close())
	good, err := os.ReadFile(dsn)
	must(t, err)
	for name, tt := range map[string]struct{ content, says string }{
		"cut off":            {string(good[:len(good)/2]), "damaged"},
		"garbage at the end": {string(good[:len(good)-4096]) + strings.Repeat("garbage ", 512), "damaged"},
		"garbage":            {strings.Repeat("garbage ", 1024), "not a SQLite database"},
	} {
		t.Run(name, func(t *testing.T) {
			must(t, os.WriteFile(dsn, []byte(tt.content), 0o600))
			if _, err := store.Open(t.Context(), dsn); err == nil || !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), "backup") {
				t.Errorf("Open: %v", err)
			}
			if after, err := os.ReadFile(dsn); err != nil || string(after) != tt.content {
				t.Errorf("the file has changed, %v", err)
			}
		})
	}
}

func TestForeignDatabase(t *testing.T) {
	dsn := storetest.SQLite(t)
	raw, err := sql.Open("sqlite", dsn)
	must(t, err)
	_, err = raw.ExecContext(t.Context(), "CREATE TABLE songs (name TEXT)")
	must(t, err, raw.Close())
	if _, err := store.Open(t.Context(), dsn); err == nil || !strings.Contains(err.Error(), "songs") {
		t.Errorf("Open: %v", err)
	}
}
