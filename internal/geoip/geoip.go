// Package geoip looks up the countries of addresses in a database in MaxMind's format
// (GeoLite2-Country, GeoIP2-City, DB-IP and others).
package geoip

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/oschwald/maxminddb-golang/v2"
)

const (
	// lookEvery is how often the file is looked at for a change.
	lookEvery = 5 * time.Second

	// maxFile bounds a database, which is held in memory: the largest that are
	// published for cities have some 150 MB.
	maxFile = 512 << 20
)

// A DB is an open database; Run rereads it when its file changes.
type DB struct {
	path string
	log  *slog.Logger
	read fs.FileInfo // of the file that was read last, or tried; Run alone uses it

	reader atomic.Pointer[maxminddb.Reader]
}

// Open opens the database in a file.
func Open(path string, log *slog.Logger) (*DB, error) {
	db := &DB{path: path, log: log}
	return db, db.load()
}

// load reads the whole file: one that is mapped could be truncated by the program
// that writes it.
func (db *DB) load() error {
	info, err := os.Stat(db.path)
	if err != nil {
		return err
	}
	db.read = info
	if info.Size() > maxFile {
		return fmt.Errorf("%s has %d bytes; at most %d are read", db.path, info.Size(), maxFile)
	}
	content, err := os.ReadFile(db.path)
	if err != nil {
		return err
	}
	reader, err := maxminddb.OpenBytes(content)
	if err != nil {
		return fmt.Errorf("%s is not a database in MaxMind's format: %w", db.path, err)
	}
	db.reader.Store(reader)
	return nil
}

// Country returns the country of an address, with or without a port, as ISO
// 3166-1 alpha-2; "" if it is unknown.
func (db *DB) Country(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		address = host
	}
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return ""
	}
	var code string
	if err := db.reader.Load().Lookup(ip.Unmap().WithZone("")).DecodePath(&code, "country", "iso_code"); err != nil {
		return ""
	}
	return strings.ToUpper(code)
}

// Run rereads the file whenever it has changed, until ctx is done. If that fails, the
// last version stays in use.
func (db *DB) Run(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			db.look()
		}
	}
}

func (db *DB) look() {
	info, err := os.Stat(db.path)
	if err != nil || os.SameFile(info, db.read) && info.ModTime().Equal(db.read.ModTime()) && info.Size() == db.read.Size() {
		return // while it is being replaced there may be none
	}
	if err := db.load(); err != nil {
		db.log.Error("the new GeoIP database cannot be read; the previous one stays in use", "error", err)
		return
	}
	db.log.Info("GeoIP database reloaded", "file", db.path)
}
