// Package api is the operator's door: the Amazon IVS API (restJson1 over HTTP,
// signed with Signature Version 4) and STS GetCallerIdentity beside it.
package api

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
)

// A Server answers API calls. It is an http.Handler for POST /<Operation>,
// /tags/{arn} and STS's POST /.
type Server struct {
	Store     *store.DB
	Endpoints ivs.Endpoints // what channels show as their addresses

	Account         string // of the root credentials, 12 digits; also where AuthOff finds none
	Region          string // where AuthOff finds none in the signature
	AccessKeyID     string // the root credentials
	SecretAccessKey string
	AuthOff         bool // any signature, or none, is accepted

	// StopStream cuts off the encoder of a live channel. It returns when that
	// is done, with an ivs.Error of kind NotBroadcasting if there was none.
	StopStream func(ctx context.Context, channelARN string) error

	Log *slog.Logger     // nil means slog.Default()
	Now func() time.Time // nil means time.Now
}

// ServeHTTP answers one call.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	http.NotFound(w, r)
}
