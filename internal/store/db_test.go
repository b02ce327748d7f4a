package store_test

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/store/storetest"
)

// Nodes that start at the same time on an empty database all succeed, and sign
// their tokens with the same key.
func TestConcurrentOpen(t *testing.T) {
	storetest.EachDSN(t, func(t *testing.T, dsn string) {
		var all sync.WaitGroup
		dbs := make([]*store.DB, 4)
		for i := range dbs {
			all.Go(func() {
				var err error
				if dbs[i], err = store.Open(t.Context(), dsn); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if t.Failed() {
			return
		}
		addChannel(t, dbs[0], here, "")
		addChannel(t, dbs[1], here, "")
		_, token, err := dbs[2].ListChannels(t.Context(), here, store.ChannelFilter{}, store.Page{Max: 1})
		must(t, err)
		if list, _, err := dbs[3].ListChannels(t.Context(), here, store.ChannelFilter{}, store.Page{Max: 1, Token: token}); err != nil || len(list) != 1 {
			t.Errorf("another node's token: %v, %v", list, err)
		}
		for _, db := range dbs {
			must(t, db.ProbeWrite(t.Context()), db.Close())
		}
	})
}

// execRaw runs statements on a database past the store.
func execRaw(t *testing.T, dsn string, statements ...string) {
	t.Helper()
	driver := "sqlite"
	if strings.HasPrefix(dsn, "postgres") {
		driver = "pgx"
	}
	raw, err := sql.Open(driver, dsn)
	must(t, err)
	defer raw.Close()
	for _, s := range statements {
		_, err := raw.ExecContext(t.Context(), s)
		must(t, err)
	}
}

func TestOpenRefusesANewerSchema(t *testing.T) {
	storetest.EachDSN(t, func(t *testing.T, dsn string) {
		must(t, storetest.Open(t, dsn).ProbeWrite(t.Context()))
		execRaw(t, dsn, "INSERT INTO migrations (version) VALUES (999)")
		db, err := store.Open(t.Context(), dsn) // additions do no harm
		must(t, err, db.Close())
		execRaw(t, dsn, "UPDATE settings SET value = '999' WHERE name = 'schema_minimum'")
		if db, err := store.Open(t.Context(), dsn); err == nil || !strings.Contains(err.Error(), "newer version") {
			t.Errorf("Open = %v, %v; want an error about a newer version", db, err)
		}
	})
}

// A migration that has to wait for a reader gives up soon, and is done when it is tried
// again: what waits behind it keeps the leases.
func TestMigrationWaits(t *testing.T) {
	t.Parallel()
	dsn := storetest.Postgres(t)
	running := storetest.Open(t, dsn)
	c, _ := addChannel(t, running, here, "")
	id := addSession(t, running, c.ARN, "n1", t0)
	storetest.Undo(t, dsn)
	reader := storetest.Hold(t, dsn, "SELECT 1 FROM sessions")
	opened := make(chan error, 1)
	go func() {
		db, err := store.Open(t.Context(), dsn)
		if err == nil {
			err = db.Close()
		}
		opened <- err
	}()
	for reader.Waiting() == 0 && len(opened) == 0 {
		time.Sleep(time.Millisecond)
	}
	lost, err := running.Heartbeat(t.Context(), "n1", at(5), []store.SessionState{{StreamID: id, Health: ivs.HealthHealthy}})
	if err != nil || len(lost) != 0 {
		t.Errorf("a heartbeat behind the migration: %v, %v", lost, err)
	}
	if err := <-opened; !errors.Is(err, store.ErrSchemaLocked) || !strings.Contains(err.Error(), "0017_lost_sessions.sql") {
		t.Errorf("Open = %v", err)
	}
	reader.Release()
	must(t, storetest.Open(t, dsn).PutMetrics(t.Context(), []store.Metrics{{StreamID: id, Period: 1, Data: []byte("x")}}))
}

func TestOpenErrorsNameTheDatabaseButNoPassword(t *testing.T) {
	for dsn, want := range map[string]string{
		filepath.Join(t.TempDir(), "missing", "x.db"):       "missing",
		"postgres://u:secret@127.0.0.1:1/x?sslmode=disable": "u:xxxxx@127.0.0.1:1",
		"postgres://u:secret@%zz/x":                         "PostgreSQL",
	} {
		_, err := store.Open(t.Context(), dsn)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("Open(%s) = %v, want it to say %q and not the password", dsn, err, want)
		}
	}
}

func TestDatabaseFileIsPrivate(t *testing.T) {
	path := storetest.SQLite(t)
	db := storetest.Open(t, path)
	addChannel(t, db, here, "")
	for _, suffix := range []string{"", "-wal", "-shm"} {
		info, err := os.Stat(path + suffix)
		must(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", path+suffix, info.Mode())
		}
	}
}

// A path is a path, whatever its characters mean in a URL.
func TestOddPath(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a b?c=d&%41#é.db")
	c, _ := addChannel(t, storetest.Open(t, path), here, "")
	if _, err := storetest.Open(t, path).Channel(t.Context(), c.ARN); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}

// What was acknowledged before a kill -9 is there after it, and the session
// that was open can be ended.
func TestKill(t *testing.T) {
	storetest.EachDSN(t, func(t *testing.T, dsn string) {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), "STORE_TEST_WRITER="+dsn)
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		must(t, err, child.Start())
		var acked []string
		lines := bufio.NewScanner(out)
		for len(acked) < 30 && lines.Scan() {
			acked = append(acked, lines.Text())
		}
		must(t, child.Process.Kill())
		for lines.Scan() { // those that were written before the kill
			acked = append(acked, lines.Text())
		}
		child.Wait() // reports the kill
		if len(acked) < 30 {
			t.Fatalf("the writer wrote only %q", acked)
		}
		db := storetest.Open(t, dsn)
		for _, arn := range acked {
			if _, err := db.Channel(t.Context(), arn); err != nil {
				t.Errorf("lost: %v", err)
			}
			if _, err := db.StreamSession(t.Context(), arn, ""); err != nil {
				t.Errorf("lost: %v", err)
			}
		}
		ended, err := db.EndSessionsOf(t.Context(), "writer")
		if err != nil || len(ended) < len(acked) {
			t.Errorf("EndSessionsOf ended %d of %d, %v", len(ended), len(acked), err)
		}
	})
}

// writeForever is the process that TestKill kills: it prints what was stored.
func writeForever(dsn string) int {
	ctx := context.Background()
	db, err := store.Open(ctx, dsn)
	for err == nil {
		c := newChannel(here, "")
		if err = db.CreateChannel(ctx, c, newKey(here, c.ARN)); err != nil {
			break
		}
		if err = db.CreateSession(ctx, store.NewSession{ChannelARN: c.ARN, StreamID: ivs.NewStreamID(), Owner: "writer", At: t0}); err != nil {
			break
		}
		_, err = io.WriteString(os.Stdout, c.ARN+"\n")
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// The sessions of a node are ended however many they are: in several transactions, so
// that what one has ended stays so when there is no time for the next.
func TestEndMany(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		const many = 2*50 + 7
		for range many {
			c, _ := addChannel(t, db, here, "")
			addSession(t, db, c.ARN, "n1", t0)
		}
		c, _ := addChannel(t, db, here, "")
		other := addSession(t, db, c.ARN, "n2", t0)
		ended, err := db.EndSessionsOf(t.Context(), "n1")
		if err != nil || len(ended) != many {
			t.Errorf("EndSessionsOf = %d sessions, %v", len(ended), err)
		}
		if open, err := db.OwnedStreams(t.Context()); err != nil || len(open) != 1 || open[0].StreamID != other {
			t.Errorf("open in the end: %+v, %v", open, err)
		}
	})
}
