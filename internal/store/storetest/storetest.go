// Package storetest gives tests real databases, SQLite files and a private PostgreSQL
// server that is started from Debian's package for the test binary, and the rows that most
// of them begin with.
package storetest

import (
	"bufio"
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // database/sql driver "pgx"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
)

// server is the test binary's PostgreSQL, started when a test first wants it.
var server struct {
	once      sync.Once
	pg        *Server
	err       error
	databases atomic.Int64
}

// Main runs the tests and stops what they have started. It is for TestMain:
// os.Exit(storetest.Main(m)).
func Main(m *testing.M) int {
	code := m.Run()
	if server.pg != nil {
		if err := server.pg.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stop PostgreSQL:", err)
			code = max(code, 1)
		}
	}
	return code
}

// Must fails the test at the first error.
func Must(t testing.TB, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// Each runs f on an empty database of each engine.
func Each(t *testing.T, f func(t *testing.T, db *store.DB)) {
	EachDSN(t, func(t *testing.T, dsn string) { f(t, Open(t, dsn)) })
}

// EachDSN runs f with the name of an empty database of each engine, in parallel: one
// engine waits for its disk, the other one computes in another process. f must be all
// that the test does.
func EachDSN(t *testing.T, f func(t *testing.T, dsn string)) {
	for engine, dsn := range map[string]func(testing.TB) string{"sqlite": SQLite, "postgres": Postgres} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			f(t, dsn(t))
		})
	}
}

// Open opens the database until the end of the test.
func Open(t testing.TB, dsn string) *store.DB {
	t.Helper()
	db, err := store.Open(context.Background(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// Channel stores a channel of an account and region, with a stream key.
func Channel(t testing.TB, db *store.DB, s store.Scope, name string) (ivs.Channel, ivs.StreamKey) {
	t.Helper()
	c := ivs.NewChannel(s.Account, s.Region)
	c.Name = name
	k := ivs.NewStreamKey(s.Account, s.Region, c.ARN)
	Must(t, db.CreateChannel(context.Background(), c, k))
	return c, k
}

// Session opens a session of a channel.
func Session(t testing.TB, db *store.DB, channelARN, owner string, at time.Time) (streamID string) {
	t.Helper()
	id := ivs.NewStreamID()
	Must(t, db.CreateSession(context.Background(), store.NewSession{ChannelARN: channelARN, StreamID: id, Owner: owner, At: at}))
	return id
}

// Broadcast writes the four events of a session, from Session Created to Stream End, a
// second apart.
func Broadcast(t testing.TB, db *store.DB, channelARN string, at time.Time) (streamID string) {
	t.Helper()
	ctx, id := context.Background(), Session(t, db, channelARN, "n", at)
	end := at.Add(3 * time.Second)
	Must(t, db.StartStream(ctx, id, at.Add(time.Second), ivs.IngestConfigurations{}), db.EndSession(ctx, id, at.Add(2*time.Second), ""),
		db.WriteEnd(ctx, store.End{StreamID: id, Left: end, Ended: end}))
	return id
}

// SQLite returns the path of a database that does not exist yet.
func SQLite(t testing.TB) string { return filepath.Join(t.TempDir(), "millrace.db") }

// Postgres is the URL of an empty database on the private server. It needs
// TestMain to call Main. In short mode it skips the test: the server and a database
// for each test take many seconds.
func Postgres(t testing.TB) string {
	t.Helper()
	if testing.Short() {
		t.Skip("starts PostgreSQL")
	}
	server.once.Do(func() { server.pg, server.err = Start() })
	if server.err != nil {
		t.Fatalf("start PostgreSQL (Debian package postgresql): %v", server.err)
	}
	dsn, err := server.pg.Create(fmt.Sprintf("test%d", server.databases.Add(1)))
	if err != nil {
		t.Fatal(err)
	}
	return dsn
}

// A Lock is a lock that another client than the store holds in a PostgreSQL database.
type Lock struct {
	t  testing.TB
	db *sql.DB
	tx *sql.Tx
}

// Hold begins a transaction that holds the locks that query takes, until Release or the
// end of the test.
func Hold(t testing.TB, dsn, query string, args ...any) *Lock {
	t.Helper()
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	tx, err := db.BeginTx(t.Context(), nil)
	if err == nil {
		_, err = tx.ExecContext(t.Context(), query, args...)
	}
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return &Lock{t, db, tx}
}

// Waiting returns how many connections to the database wait for a lock.
func (l *Lock) Waiting() (n int) {
	l.t.Helper()
	if err := l.db.QueryRowContext(l.t.Context(), "SELECT count(DISTINCT pid) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE NOT granted AND datname = current_database()").Scan(&n); err != nil {
		l.t.Error(err)
	}
	return n
}

// Release releases the lock.
func (l *Lock) Release() {
	l.t.Helper()
	if err := l.tx.Rollback(); err != nil {
		l.t.Error(err)
	}
}

// Tool returns the path of a program that comes with PostgreSQL, such as pg_dump.
func Tool(t testing.TB, name string) string {
	t.Helper()
	bin, err := folder(name)
	if err != nil {
		t.Fatalf("find %s (Debian package postgresql): %v", name, err)
	}
	return filepath.Join(bin, name)
}

// A Server is a PostgreSQL server that listens on a Unix socket in its own folder.
type Server struct {
	dir     string
	cmd     *exec.Cmd
	stopped chan struct{} // closed when it has ended
}

func (p *Server) url(database string) string {
	return "postgres:///" + database + "?user=postgres&host=" + p.dir
}

// Create makes an empty database and returns its URL.
func (p *Server) Create(name string) (dsn string, err error) {
	admin, err := sql.Open("pgx", p.url("postgres"))
	if err != nil {
		return "", err
	}
	defer admin.Close()
	if _, err := admin.Exec("CREATE DATABASE " + name); err != nil {
		return "", err
	}
	return p.url(name), nil
}

// Start starts a PostgreSQL with an empty data folder and settings such as
// "work_mem=8MB".
func Start(settings ...string) (_ *Server, err error) {
	bin, err := folder("initdb")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "millrace-pg")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	attr, err := unprivileged(dir)
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	runtime.LockOSThread() // see run
	defer runtime.UnlockOSThread()
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
	initdb.SysProcAttr, initdb.Dir = attr, dir
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	p := &Server{dir: dir, stopped: make(chan struct{})}
	args := []string{"-D", data, "-k", dir}
	for _, setting := range append([]string{"listen_addresses=", "fsync=off", "max_connections=300", "lc_messages=C"}, settings...) {
		args = append(args, "-c", setting)
	}
	p.cmd = exec.Command(filepath.Join(bin, "postgres"), args...)
	p.cmd.SysProcAttr, p.cmd.Dir = attr, dir
	return p, p.launch()
}

// launch starts the server and returns when it accepts connections.
func (p *Server) launch() error {
	ready := make(chan error, 1)
	go p.run(ready)
	return <-ready
}

// run runs the server until it stops. It stays on the thread that has started it: the
// server's death signal comes when that ends (prctl(2), PR_SET_PDEATHSIG), and a test may
// end its thread.
func (p *Server) run(ready chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(p.stopped)
	stderr, err := p.cmd.StderrPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		ready <- err
		return
	}
	log := bufio.NewScanner(stderr)
	var seen []string
	for log.Scan() {
		seen = append(seen, log.Text())
		if strings.Contains(log.Text(), "ready to accept connections") {
			ready <- nil
			_, _ = io.Copy(io.Discard, stderr) // it would wait for a reader; until it has ended
			_ = p.cmd.Wait()                   // Stop's signal is reported as a failure
			return
		}
	}
	ready <- fmt.Errorf("postgres: %w: %s", p.cmd.Wait(), strings.Join(seen, "\n"))
}

// Stop stops the server and deletes its data.
func (p *Server) Stop() error {
	err := p.cmd.Process.Signal(syscall.SIGQUIT) // immediately: nothing is worth keeping
	<-p.stopped
	return errors.Join(err, os.RemoveAll(p.dir))
}

// folder returns the folder of a program of the newest PostgreSQL that is installed.
func folder(program string) (string, error) {
	if path, err := exec.LookPath(program); err == nil {
		return filepath.Dir(path), nil
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/" + program)
	if err != nil || len(found) == 0 {
		return "", fmt.Errorf("no %s in PATH or under /usr/lib/postgresql", program)
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
		return n
	}
	return filepath.Dir(slices.MaxFunc(found, func(a, b string) int { return cmp.Compare(version(a), version(b)) })), nil
}
