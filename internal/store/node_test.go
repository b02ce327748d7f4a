package store_test

import (
	"database/sql"
	"errors"
	"os"
	"strings"
	"testing"

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
		if err := db.NodeHeartbeat(t.Context(), "n", first); !errors.Is(err, store.ErrNodeReplaced) {
			t.Errorf("heartbeat of the first start: %v", err)
		}
		must(t, db.NodeHeartbeat(t.Context(), "n", second))
		var used *store.NodeInUseError
		if _, err := db.RegisterNode(t.Context(), copied); !errors.As(err, &used) || used.Host != "a" || used.Ago < 0 || used.Ago > store.NodeLease {
			t.Errorf("start of a copy: %v", err)
		}
		must(t, db.StopNode(t.Context(), "n", second))
		third, err := db.RegisterNode(t.Context(), copied)
		if err != nil || third <= second {
			t.Errorf("after a stop, epoch %d, %v", third, err)
		}
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
