package api

import (
	"bytes"
	"io"
	"net/http"
	"time"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
)

// extensionRoot is the root of the paths of all calls that AWS does not have.
const extensionRoot = "/_millrace/"

// An Extension handles requests that are signed like IVS calls. The request's body has
// been read into memory; the Extension must show only resources of scope. An error must
// be returned before anything is written, and is then written like that of any other
// call.
type Extension func(w http.ResponseWriter, r *http.Request, scope store.Scope) error

// extensionMux lays out the Extensions. It is made for each request: that takes
// microseconds, and the requests are few.
func (s *Server) extensionMux() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc(extensionRoot, func(w http.ResponseWriter, r *http.Request) {
		reply(w, nil, unknownOperation(r, r.URL.Path))
	})
	for pattern, run := range s.Extensions {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			start := time.Now()
			scope, err := s.extend(run, w, r)
			s.log(r, w.Header().Get("X-Amzn-Requestid"), pattern, scope, start, err)
			if err != nil {
				reply(w, nil, err)
			}
		})
	}
	return mux
}

// extend verifies the request and has run answer it.
func (s *Server) extend(run Extension, w http.ResponseWriter, r *http.Request) (scope store.Scope, err error) {
	body, scope, leave, err := s.admit(w, r, "ivs")
	if err != nil {
		return scope, err
	}
	defer leave()
	r.Body = io.NopCloser(bytes.NewReader(body))
	return scope, run(w, r, scope)
}

// Decode reads the JSON body of an Extension's request into v. It returns an
// ivs.Validation error if the body is not valid.
func Decode(r *http.Request, v any) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return ivs.Errorf(ivs.Validation, "The request body ended early")
	}
	return decode(body, v)
}

// Reply writes out as JSON, the response to an Extension's request.
func Reply(w http.ResponseWriter, out any) { reply(w, out, nil) }
