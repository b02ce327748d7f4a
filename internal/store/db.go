// Package store keeps channels, stream keys, sessions, their events and the other
// resources of the API in SQLite or PostgreSQL. What a method has stored without an
// error survives a kill of the process; with SQLite also a loss of power. All methods
// may be called concurrently.
package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/millrace/millrace/internal/ivs"
)

// A DB is an open database. Use Open to make one.
type DB struct {
	write *sql.DB // SQLite has one writer at a time, so one connection
	read  *sql.DB // the same pool as write on PostgreSQL

	// Callers queue here for a connection. On SQLite, heartbeats share the queues of the
	// other callers.
	writing, heartbeatWrites turns // for a connection of write
	reading, heartbeatReads  turns // for a connection of read
	// Look-ups of stream keys queue by client first, then in keys, then in reading.
	keyClients clientTurns
	keys       turns

	dialect  dialect
	tokenKey []byte // signs page tokens; the same on every node

	written, numbered signal        // signals of this process: an event was committed, an event was numbered
	pending           signal        // signal of this process: a pending resource was created
	revoked           signal        // signal of this process: a revocation was made
	resources         atomic.Uint64 // number of changes of resources by this process
	mu                sync.Mutex
	stmts             map[string]*sql.Stmt // guarded by mu; prepared on read, one per query text; unused if the driver prepares
}

// A dialect holds all differences between the two engines.
type dialect struct {
	serial      string // column type of an increasing primary key
	migrateLock string // held while migrations run, however long they take; each of them waits for tables for a second at most
	feedLock    string // held while events are numbered
	forUpdate   string // locks the rows a SELECT has found until the transaction ends
	forShare    string // prevents the rows a SELECT has found from being deleted until the transaction ends
	skipLocked  string // forUpdate, leaving out rows that others have locked
	now         string // the database's clock, Unix milliseconds
	quotaLock   string // held by name while a resource with a quota is added
	dollars     bool   // parameters are $1, $2, … instead of ?
	prepares    bool   // the driver prepares and caches statements by itself

	answerTime time.Duration // limit for the first answer to a caller; 0 for none
}

var (
	sqliteDialect   = dialect{serial: "INTEGER PRIMARY KEY AUTOINCREMENT", now: "CAST(unixepoch('subsec') * 1000 AS INTEGER)"} // its transactions lock the whole file
	postgresDialect = dialect{
		serial:      "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
		migrateLock: "SET LOCAL lock_timeout = 0; SELECT pg_advisory_xact_lock(7310868735421); SET LOCAL lock_timeout = 1000",
		feedLock:    "SELECT pg_advisory_xact_lock(7310868735422)",
		now:         "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)",
		forUpdate:   " FOR UPDATE",
		forShare:    " FOR KEY SHARE",
		quotaLock:   "SELECT pg_advisory_xact_lock(7310868, hashtext(?))",
		skipLocked:  " FOR UPDATE SKIP LOCKED",
		dollars:     true,
		prepares:    true,
		answerTime:  4 * time.Second,
	}
)

const (
	sqliteReaders   = 4
	postgresReaders = 8
	postgresWriters = 8

	// postgresHeartbeats are connections for heartbeats alone, of the node and of its sessions:
	// calls that wait for locks must not let leases expire.
	postgresHeartbeats = 2

	postgresMaxConns = postgresReaders + postgresWriters + postgresHeartbeats
)

// PostgreSQL aborts a transaction that is idle for hungTransaction: its node has been
// suspended or disconnected, and may hold locks that every node needs. Others wait for
// a lock for longer than that, but not forever.
const (
	hungTransaction = 5 * time.Second
	lockWait        = 7 * time.Second
)

// ErrSchemaLocked is the error of Open if it could not bring the schema up to date
// because another client of PostgreSQL has used a table for more than a second. Open
// waits no longer, since every statement on the table waits behind it, on all nodes. It
// may be called again.
var ErrSchemaLocked = errors.New("the schema cannot be changed now: another client of the database, such as a backup or a report, is using a table")

// Open opens the database that dsn names, a postgres:// URL or the path of a
// SQLite file, creates what is missing, and brings its schema up to date.
func Open(ctx context.Context, dsn string) (_ *DB, err error) {
	var db *DB
	if isPostgres(dsn) {
		db, err = openPostgres(dsn)
	} else {
		db, err = openSQLite(dsn)
	}
	if err != nil {
		return nil, err
	}
	if err := db.quickCheck(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", engineName(dsn), err), db.Close())
	}
	if err := db.migratePatiently(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", engineName(dsn), err), db.Close())
	}
	return db, nil
}

func isPostgres(dsn string) bool {
	return strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://")
}

// engineName names the database of dsn without the password it may hold.
func engineName(dsn string) string {
	if u, err := url.Parse(dsn); err == nil && isPostgres(dsn) {
		return u.Redacted()
	}
	if isPostgres(dsn) {
		return "the PostgreSQL database"
	}
	return dsn
}

func openPostgres(dsn string) (*DB, error) {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", engineName(dsn), err)
	}
	pool := stdlib.OpenDB(*cfg, stdlib.OptionAfterConnect(func(ctx context.Context, c *pgx.Conn) error {
		_, err := c.Exec(ctx, fmt.Sprintf("SET idle_in_transaction_session_timeout = %d; SET lock_timeout = %d", hungTransaction.Milliseconds(), lockWait.Milliseconds()))
		return err
	}))
	pool.SetMaxOpenConns(postgresMaxConns)
	pool.SetMaxIdleConns(postgresMaxConns)
	pool.SetConnMaxIdleTime(5 * time.Minute)
	heartbeats := make(turns, postgresHeartbeats)
	return &DB{write: pool, read: pool, writing: make(turns, postgresWriters), reading: make(turns, postgresReaders), keys: make(turns, postgresReaders/2), heartbeatWrites: heartbeats, heartbeatReads: heartbeats, dialect: postgresDialect}, nil
}

func openSQLite(path string) (*DB, error) {
	// Stream keys are inside, so the file is made here and for the owner alone;
	// SQLite gives its -wal and -shm files the same mode.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open SQLite database: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("open SQLite database: %w", err)
	}
	// synchronous(FULL): a commit is on the disk before it is acknowledged.
	uri := "file:" + (&url.URL{Path: path}).EscapedPath() +
		"?_pragma=busy_timeout(10000)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)"
	write, err := sql.Open("sqlite", uri+"&_pragma=journal_mode(WAL)&_txlock=immediate") // the file stays WAL for readers too
	if err != nil {
		return nil, fmt.Errorf("open SQLite database %s: %w", path, err)
	}
	write.SetMaxOpenConns(1)
	read, err := sql.Open("sqlite", uri+"&_pragma=query_only(1)&_pragma=cache_size(-16000)") // KiB
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open SQLite database %s: %w", path, err), write.Close())
	}
	read.SetMaxOpenConns(sqliteReaders)
	read.SetMaxIdleConns(sqliteReaders)
	writing, reading := make(turns, 1), make(turns, sqliteReaders)
	return &DB{write: write, read: read, writing: writing, reading: reading, keys: make(turns, sqliteReaders/2), heartbeatWrites: writing, heartbeatReads: reading, dialect: sqliteDialect, stmts: map[string]*sql.Stmt{}}, nil
}

// Close closes the database. Calls in progress fail.
func (db *DB) Close() error {
	if db.read == db.write {
		return db.write.Close()
	}
	return errors.Join(db.read.Close(), db.write.Close())
}

// A queryer runs statements: inside a transaction or as prepared reads.
type queryer interface {
	query(ctx context.Context, q string, args ...any) (*sql.Rows, error)
	enter(ctx context.Context) (turn, error) // before a query
}

// turns is a first-in, first-out queue of callers that wait for a connection;
// database/sql would choose one of them at random. It holds one element for each caller
// that has a connection.
type turns chan struct{}

func (t turns) enter(ctx context.Context) error {
	select {
	case t <- struct{}{}: // nobody waits: there would be no room
		return nil
	default:
	}
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t turns) leave() { <-t }

// A turn is one caller's use of the database: it waits for a connection, then has it.
type turn struct {
	ctx    context.Context         // for the queries of the turn
	cancel context.CancelCauseFunc // of ctx; nil without a limit
	late   *time.Timer             // nil without a limit
	of     turns                   // nil for a query in a transaction, which has a turn itself
}

// errSilent is why a turn was cancelled: PostgreSQL is paused, or the network drops
// its packets.
var errSilent = errors.New("the database does not answer")

// await starts a turn in the queue t. It is cancelled if the database does not answer
// its first query within answerTime, the wait for a connection included.
func (db *DB) await(ctx context.Context, t turns) (turn, error) {
	w := turn{ctx: ctx, of: t}
	if limit := db.dialect.answerTime; limit > 0 {
		limited, cancel := context.WithCancelCause(ctx)
		w.ctx, w.cancel = limited, cancel
		w.late = time.AfterFunc(limit, func() { cancel(fmt.Errorf("%w within %v", errSilent, limit)) })
	}
	if err := t.enter(w.ctx); err != nil {
		err = w.answered(err)
		w.end()
		return turn{}, err
	}
	return w, nil
}

// answered takes the result of the turn's first query and ends the limit.
func (w turn) answered(err error) error {
	if w.late != nil {
		w.late.Stop()
	}
	if err == nil {
		return nil
	}
	if cause := context.Cause(w.ctx); errors.Is(cause, errSilent) {
		return fmt.Errorf("%w: %v", cause, err) // err is context.Canceled, and the caller has not cancelled
	}
	return err
}

func (w turn) leave() {
	w.end()
	if w.of != nil {
		w.of.leave()
	}
}

func (w turn) end() {
	if w.cancel != nil {
		w.cancel(nil)
	}
}

func (db *DB) enter(ctx context.Context) (turn, error) { return db.await(ctx, db.reading) }

// A heartbeatReader reads for heartbeats.
type heartbeatReader struct{ *DB }

func (h heartbeatReader) enter(ctx context.Context) (turn, error) {
	return h.await(ctx, h.heartbeatReads)
}

// query runs a read outside of a transaction, prepared once per text. It must not be
// used for texts with a varying number of parameters.
func (db *DB) query(ctx context.Context, q string, args ...any) (*sql.Rows, error) {
	if db.dialect.prepares {
		return db.read.QueryContext(ctx, db.dialect.rebind(q), args...)
	}
	stmt, err := db.prepare(ctx, q)
	if err != nil {
		return nil, err
	}
	return stmt.QueryContext(ctx, args...)
}

func (db *DB) prepare(ctx context.Context, q string) (*sql.Stmt, error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if stmt := db.stmts[q]; stmt != nil {
		return stmt, nil
	}
	stmt, err := db.read.PrepareContext(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("prepare %q: %w", q, err)
	}
	db.stmts[q] = stmt
	return stmt, nil
}

// A tx is a transaction that may write.
type tx struct {
	*sql.Tx
	dialect    dialect
	wroteEvent bool
}

func (t *tx) enter(ctx context.Context) (turn, error) { return turn{ctx: ctx}, nil }

func (t *tx) query(ctx context.Context, q string, args ...any) (*sql.Rows, error) {
	return t.QueryContext(ctx, t.dialect.rebind(q), args...)
}

// exec reports how many rows it changed.
func (t *tx) exec(ctx context.Context, q string, args ...any) (int64, error) {
	res, err := t.ExecContext(ctx, t.dialect.rebind(q), args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// update runs f in a transaction, which is committed if f returns nil, and rolled back
// otherwise.
func (db *DB) update(ctx context.Context, f func(*tx) error) error {
	return db.updateIn(ctx, db.writing, f)
}

// updateIn is update with a connection of the queue t.
func (db *DB) updateIn(ctx context.Context, t turns, f func(*tx) error) error {
	w, err := db.await(ctx, t)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer w.leave()
	whole, cut := context.WithCancel(context.WithoutCancel(w.ctx))
	defer cut()
	detach := context.AfterFunc(w.ctx, cut)
	defer detach()
	begun, err := db.write.BeginTx(whole, nil)
	if err != nil && w.ctx.Err() != nil {
		err = w.ctx.Err()
	}
	if err = w.answered(err); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer begun.Rollback() // no-op after Commit
	u := &tx{Tx: begun, dialect: db.dialect}
	if err := f(u); err != nil {
		return err
	}
	if !detach() {
		return fmt.Errorf("commit: %w", w.ctx.Err())
	}
	late := time.AfterFunc(commitTime(w.ctx), cut)
	defer late.Stop()
	if err := begun.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	if u.wroteEvent {
		db.written.raise()
	}
	return nil
}

// commitTime is how long a COMMIT may take: until the caller's deadline. A caller that
// leaves does not interrupt it: the COMMIT could still succeed, and the caller would
// write everything again.
func commitTime(ctx context.Context) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return time.Until(deadline)
	}
	return 10 * time.Second
}

// collect scans all rows.
func collect[T any](ctx context.Context, db queryer, scan func(*sql.Rows) (T, error), q string, args ...any) ([]T, error) {
	w, err := db.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer w.leave()
	rows, err := db.query(w.ctx, q, args...)
	if err = w.answered(err); err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, rows.Err()
}

// one reads a single row; ok is false if there is none.
func one[T any](ctx context.Context, db queryer, scan func(*sql.Rows) (T, error), q string, args ...any) (v T, ok bool, err error) {
	all, err := collect(ctx, db, scan, q, args...)
	if err != nil || len(all) == 0 {
		return v, false, err
	}
	return all[0], true, nil
}

// rebind replaces ? by $1, $2, … for the engine that requires it. No query text has a
// question mark that is not a parameter.
func (d dialect) rebind(q string) string {
	if !d.dollars {
		return q
	}
	var b strings.Builder
	for n := 1; ; n++ {
		before, after, found := strings.Cut(q, "?")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		b.WriteString("$" + strconv.Itoa(n))
		q = after
	}
}

// isUnique reports whether err is a violation of a unique key.
func isUnique(err error) bool {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE || e.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY
	}
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && e.Code == "23505" // unique_violation
}

// isLocked reports whether err means that PostgreSQL has waited for a lock for too long.
func isLocked(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && e.Code == "55P03" // lock_not_available
}

// isBusy reports whether err means that another process has locked the SQLite file.
func isBusy(err error) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && e.Code()&0xff == sqlite3.SQLITE_BUSY // the rest of the code says why
}

// placeholders returns n parameters for an IN list.
func placeholders(n int) string { return strings.TrimSuffix(strings.Repeat("?, ", n), ", ") }

// asJSON reads or writes a column that holds JSON. To read, v is a pointer.
type asJSON struct{ v any }

// Value encodes v.
func (j asJSON) Value() (driver.Value, error) {
	b, err := json.Marshal(j.v)
	return string(b), err
}

// Scan decodes into v.
func (j asJSON) Scan(src any) error {
	switch s := src.(type) {
	case string:
		return json.Unmarshal([]byte(s), j.v)
	case []byte:
		return json.Unmarshal(s, j.v)
	}
	return fmt.Errorf("column holds %T, not JSON text", src)
}

// maxReason bounds the bytes of a reasonText.
const maxReason = 1000

// reasonText is a column's text that says why something failed or was refused. It may
// quote an encoder or another server: what PostgreSQL does not accept as text is left
// out.
func reasonText(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s[:min(len(s), maxReason)], ""), "\x00", "")
}

// millis returns t as columns hold it. The zero time is 0.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(ms int64) ivs.Time {
	if ms == 0 {
		return ivs.Time{}
	}
	return ivs.Time{Time: time.UnixMilli(ms).UTC()}
}

// wrap adds what was tried to an error.
func wrap(err *error, format string, args ...any) {
	if *err == nil {
		return
	}
	*err = fmt.Errorf("store: "+format+": %w", append(args, markUnavailable(*err))...)
}

// errUnavailable is the API error while the database does not answer.
var errUnavailable = ivs.Errorf(ivs.ServiceUnavailable, "The database cannot be reached now; try again")

// markUnavailable adds errUnavailable to an error that means that the database does not
// answer.
func markUnavailable(err error) error {
	if !isUnavailable(err) || ivs.Is(err, ivs.ServiceUnavailable) {
		return err
	}
	return fmt.Errorf("%w: %w", errUnavailable, err)
}

func isUnavailable(err error) bool {
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return isLocked(e) || e.Code == "25P03" // idle_in_transaction_session_timeout
	}
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, errSilent)
}
