package store

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/binary"
	"strings"

	"github.com/millrace/millrace/internal/ivs"
)

// A Scope is an account and region, which share nothing with others.
type Scope struct {
	Account string
	Region  string
}

// ScopeOf returns the scope of a channel.
func ScopeOf(channelARN string) Scope {
	a, _ := ivs.ParseARN(channelARN)
	return Scope{Account: a.Account, Region: a.Region}
}

// A Page selects a part of a list.
type Page struct {
	Token string // nextToken of the previous page; "" for the first
	Max   int    // rows at most, at least 1
}

// A token identifies the last row of a page, so that the next page begins after it
// whatever rows have been added or deleted. It has a version byte, the seq of the row,
// and a MAC over both and the list that it belongs to.
const (
	tokenVersion = 1
	tokenMACLen  = 16
	tokenLen     = 1 + 8 + tokenMACLen
)

// token returns the token of the page after row seq of the named list.
func (db *DB) token(seq int64, list []string) string {
	b := make([]byte, 0, tokenLen)
	b = append(b, tokenVersion)
	b = binary.BigEndian.AppendUint64(b, uint64(seq))
	h := hmac.New(sha256.New, db.tokenKey)
	h.Write(b)
	h.Write([]byte(strings.Join(list, "\x00"))) // no member of list can hold a NUL
	return base64.URLEncoding.EncodeToString(append(b, h.Sum(nil)[:tokenMACLen]...))
}

// after returns the row before the page; first for the first page.
func (db *DB) after(token string, first int64, list []string) (int64, error) {
	if token == "" {
		return first, nil
	}
	invalid := ivs.Errorf(ivs.Validation, "nextToken is not one that this list gave out for the same filter")
	b, err := base64.URLEncoding.DecodeString(token)
	if err != nil || len(b) != tokenLen {
		return 0, invalid
	}
	seq := int64(binary.BigEndian.Uint64(b[1:]))
	if !hmac.Equal([]byte(token), []byte(db.token(seq, list))) {
		return 0, invalid
	}
	return seq, nil
}

// A keyed is a row of a list and the seq that orders it.
type keyed[T any] struct {
	seq int64
	row T
}

// withSeq scans a row whose first column is seq.
func withSeq[T any](scan func(rows *sql.Rows, seq *int64) (T, error)) func(*sql.Rows) (keyed[T], error) {
	return func(rows *sql.Rows) (k keyed[T], err error) {
		k.row, err = scan(rows, &k.seq)
		return k, err
	}
}

// page reads one page of a list. q ends in a comparison with seq, its order and "LIMIT ?";
// the row to start after and the limit are added to args. names binds the tokens to this
// list. Its cost does not depend on the page's depth.
func page[T any](ctx context.Context, db *DB, p Page, first int64, names []string,
	scan func(rows *sql.Rows, seq *int64) (T, error), q string, args ...any) (list []T, next string, err error) {
	after, err := db.after(p.Token, first, names)
	if err != nil {
		return nil, "", err
	}
	rows, err := collect(ctx, db, withSeq(scan), q, append(args, after, p.Max+1)...)
	if err != nil {
		return nil, "", err
	}
	if len(rows) > p.Max {
		rows = rows[:p.Max]
		next = db.token(rows[p.Max-1].seq, names)
	}
	list = make([]T, len(rows))
	for i, k := range rows {
		list[i] = k.row
	}
	return list, next, nil
}
