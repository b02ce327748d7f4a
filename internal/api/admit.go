package api

import (
	"cmp"
	"errors"
	"net/http"
	"sync/atomic"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/reqbody"
	"github.com/millrace/millrace/internal/store"
)

// maxBody is the longest request body in bytes. The largest legal request, 50
// tags of four-byte characters, is about 80 KB.
const maxBody = 256 << 10

// signInBodies bound what sign-ins hold, which have no signature.
var signInBodies = reqbody.Limits{Bytes: 1 << 10, Total: 64, PerAddress: 16}

// admission bounds what requests hold: bodies before their signature is
// verified, calls afterwards. Only authenticated callers count against MaxCalls,
// so no other client can keep them from an answer.
type admission struct {
	bodies reqbody.Receiver
	calls  atomic.Int64 // that are being answered
}

// admit reads and authenticates a request that is signed for service. Unless it
// returns an error, the caller calls leave when it has answered.
func (s *Server) admit(w http.ResponseWriter, r *http.Request, service string) (body []byte, scope store.Scope, leave func(), err error) {
	if err := s.checkAccessKey(r); err != nil {
		return nil, scope, nil, err // before the body, for which nothing waits then
	}
	if body, err = receive(&s.admission.bodies, w, r, s.callBodies()); err != nil {
		return nil, scope, nil, err
	}
	if scope, err = s.authenticate(r, body, service); err != nil {
		return nil, scope, nil, err
	}
	leave = func() { s.admission.calls.Add(-1) }
	if n := s.admission.calls.Add(1); s.MaxCalls > 0 && n > s.MaxCalls {
		leave()
		return nil, scope, nil, ivs.Errorf(ivs.ServiceUnavailable, "The server is already handling %d calls; try again", s.MaxCalls)
	}
	return body, scope, leave, nil
}

// callBodies bound what calls hold before their signature is verified: they are as
// many as there may be calls, a quarter of them from one address.
func (s *Server) callBodies() reqbody.Limits {
	n := int(cmp.Or(s.MaxCalls, 1024))
	return reqbody.Limits{Bytes: maxBody, Total: n, PerAddress: max(n/4, 1)}
}

// receive reads a body, and refuses it in the words of the API.
func receive(v *reqbody.Receiver, w http.ResponseWriter, r *http.Request, l reqbody.Limits) ([]byte, error) {
	body, err := v.Read(w, r, l)
	switch {
	case errors.Is(err, reqbody.ErrTooLarge):
		return nil, ivs.Errorf(ivs.TooLarge, "The request body is larger than %d bytes", l.Bytes)
	case errors.Is(err, reqbody.ErrBusy):
		return nil, ivs.Errorf(ivs.ServiceUnavailable, "Too many request bodies are being received; try again")
	case err != nil:
		return nil, ivs.Errorf(ivs.Validation, "The request body ended early, or took longer than %v", reqbody.Timeout)
	}
	return body, nil
}
