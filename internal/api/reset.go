package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
)

// Reset serves POST /_millrace/reset: deletes all resources of the caller's account, in every
// region, and ends its streams, on a server that checks no signatures (--auth off).
//
// Emulators are reset between tests, servers never.
func (s *Server) Reset(w http.ResponseWriter, r *http.Request, scope store.Scope) error {
	if !s.AuthOff {
		return ivs.Errorf(ivs.AccessDenied, "Only a server that checks no signatures (--auth off) can be reset")
	}
	ctx, cancel := context.WithTimeout(r.Context(), callTimeout)
	defer cancel()
	if err := s.Store.ForgetResources(ctx, scope.Account); err != nil {
		return err
	}
	open, err := s.Store.OpenChannels(ctx, scope.Account)
	if err != nil {
		return err
	}
	for _, arn := range open {
		err := s.Live.StopStream(ctx, arn)
		if _, public := errors.AsType[*ivs.Error](err); err != nil && !public {
			return err
		}
		// Else it has stopped, or another node has it, which finds its session gone and ends it.
	}
	if err := s.Store.ForgetHistory(ctx, scope.Account); err != nil {
		return err
	}
	Reply(w, struct{}{})
	return nil
}
