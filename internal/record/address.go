package record

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/millrace/millrace/internal/access"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
)

// An object is the bucket and key that a request names.
type object struct {
	bucket, prefix string // of the recording
	key            string // the whole key
}

// A viewer is a reader of a recording of a private channel.
type viewer struct {
	channelARN string
	grant      *access.Grant
}

// admit reports whether a request may read an object, and answers it if it may not.
// address is the part of a signed address after the "~", "" without one. The viewer is nil
// where no token was needed.
func (h *Handler) admit(w http.ResponseWriter, r *http.Request, address string, o object) (v *viewer, ok bool) {
	var err error
	switch {
	case address != "":
		v, err = h.checkAddress(r, address, o)
	case !h.Public:
		err = errUnsigned
	default:
		var c ivs.Channel
		if c, err = h.channelOf(r.Context(), o.prefix); err != nil {
			break
		}
		asked := access.NewRequest(c, r, r.URL.Query().Get("token"))
		if !c.Authorized {
			err = h.Access.AllowPublic(r.Context(), asked, false)
			break
		}
		var grant *access.Grant
		if grant, err = h.authorize(r, asked); err == nil {
			w.Header().Set("Cache-Control", "no-store")
			http.Redirect(w, r, h.address(o.bucket, o.prefix, grant.Encode(), time.Now())+strings.TrimPrefix(o.key, o.prefix), http.StatusFound)
			return nil, false
		}
	}
	if err != nil {
		h.refused(w, r, o, err)
	}
	return v, err == nil
}

// refused answers a request that may not read an object.
func (h *Handler) refused(w http.ResponseWriter, r *http.Request, o object, err error) {
	refusal, ok := errors.AsType[*access.Refusal](err)
	if !ok {
		h.Recorder.Log.Error("a recording cannot be served", "recording", o.prefix, "error", err)
		refusal = &access.Refusal{Status: http.StatusServiceUnavailable, Text: "the server cannot check at present whether the recording may be served; try again"}
	}
	h.Recorder.Log.Warn("a recording was refused", "recording", o.prefix, "remote", r.RemoteAddr, "viewer", refusal.ViewerID, "reason", err)
	refuse(w, refusal.Status, refusal.Text)
}

func forbidden(text string) *access.Refusal {
	return &access.Refusal{Status: http.StatusForbidden, Text: text}
}

var (
	errUnsigned = forbidden("the address has expired or has no signature: GET /_millrace/channels/{channel}/recordings gives a new one (or start the server with --recordings-public)")
	errDeleted  = forbidden("the channel of the recording has been deleted, and whether it was private is unknown: a signed address is needed")
	errLines    = forbidden("tokens with aws:maximum-resolution open no recordings, whose renditions are not kept apart")
)

// channelOf returns the channel of a recording. The prefix does not have its
// region.
func (h *Handler) channelOf(ctx context.Context, prefix string) (ivs.Channel, error) {
	elements := strings.Split(prefix, "/")
	c, err := h.lookups.channel(ctx, h.Recorder.Store, elements[2], elements[3])
	if ivs.Is(err, ivs.NotFound) {
		return c, errDeleted
	}
	return c, err
}

const (
	// maxLookups is how many channels are looked up at a time, so that
	// unsigned requests cannot keep the database busy.
	maxLookups = 2

	// lookupTime is how long one may take, waiting for a slot included.
	lookupTime = 10 * time.Second
)

// lookups find channels in the database. Requests that ask for the same one at a
// time share what is found.
type lookups struct {
	shared singleflight.Group
	slots  chan struct{} // holds one for each that is in progress
}

func (l *lookups) channel(ctx context.Context, db *store.DB, account, id string) (ivs.Channel, error) {
	found, err, _ := l.shared.Do(account+"/"+id, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookupTime) // others may wait for it
		defer cancel()
		select {
		case l.slots <- struct{}{}:
			defer func() { <-l.slots }()
			return db.ChannelOfAccount(ctx, account, id)
		case <-ctx.Done():
			return ivs.Channel{}, fmt.Errorf("waiting to look up channel %s: %w", id, ctx.Err())
		}
	})
	return found.(ivs.Channel), err
}

// authorize checks the token of a request for a recording of a private channel,
// and uses it up if it is for a single use: also for HEAD, whose answer has the
// signed address as that of GET has.
func (h *Handler) authorize(r *http.Request, asked access.Request) (*access.Grant, error) {
	grant, err := h.Access.Authorize(r.Context(), asked)
	switch {
	case err != nil:
		return nil, err
	case grant.MaxResolution != "":
		return nil, errLines
	}
	return grant, h.Access.Start(r.Context(), grant, false)
}

// address returns a signed address of a recording. grant holds what the viewer's token
// allows; with nil, the address works for everybody.
func (h *Handler) address(name, prefix string, grant []byte, now time.Time) string {
	expiry := now.Add(signedFor).Unix()
	signature := fmt.Sprintf("%d.%s", expiry, h.mac(expiry, name, prefix, grant))
	if grant != nil {
		signature += "." + base64.RawURLEncoding.EncodeToString(grant)
	}
	return Root + "~" + signature + "/" + name + "/" + prefix
}

func (h *Handler) mac(expiry int64, name, prefix string, grant []byte) string {
	mac := hmac.New(sha256.New, h.Key)
	_, _ = fmt.Fprintf(mac, "%d/%s/%s/%t%s", expiry, name, prefix, grant != nil, grant)
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

// checkAddress checks a signed address. The viewer to whom it was given for a
// token may have been revoked; there is none for an address that was given
// without.
func (h *Handler) checkAddress(r *http.Request, address string, o object) (*viewer, error) {
	at, rest, _ := strings.Cut(address, ".")
	mac, encoded, granted := strings.Cut(rest, ".")
	expiry, err := strconv.ParseInt(at, 10, 64)
	if err != nil || time.Now().Unix() > expiry {
		return nil, errUnsigned
	}
	var grant []byte
	if granted {
		if grant, err = base64.RawURLEncoding.Strict().DecodeString(encoded); err != nil || grant == nil {
			return nil, errUnsigned
		}
	}
	if !hmac.Equal([]byte(mac), []byte(h.mac(expiry, o.bucket, o.prefix, grant))) {
		return nil, errUnsigned
	}
	if !granted {
		return nil, nil
	}
	g, err := access.DecodeGrant(grant)
	if err != nil {
		return nil, errUnsigned
	}
	c, err := h.channelOf(r.Context(), o.prefix)
	if err != nil {
		return nil, err
	}
	return &viewer{c.ARN, g}, nil
}
