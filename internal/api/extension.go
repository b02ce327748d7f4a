package api

import (
	"bytes"
	"io"
	"net/http"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
)

// ExtensionRoot is where the paths of everything begin that AWS does not have.
const ExtensionRoot = "/_millrace/"

// An Extension answers requests that are signed as IVS calls are. It sees them
// with their body read into memory, and tells about resources of scope only. An
// error that it returns before it has written anything is answered as any
// other.
type Extension func(w http.ResponseWriter, r *http.Request, scope store.Scope) error

// extend verifies a request below ExtensionRoot and has its Extension answer.
func (s *Server) extend(w http.ResponseWriter, r *http.Request) (name string, scope store.Scope, err error) {
	s.extensions.Do(func() {
		s.mux = http.NewServeMux()
		for pattern := range s.Extensions {
			s.mux.HandleFunc(pattern, http.NotFound) // only the pattern is of interest
		}
	})
	_, pattern := s.mux.Handler(r)
	run := s.Extensions[pattern]
	if run == nil {
		return r.URL.Path, scope, unknownOperation(r, r.URL.Path)
	}
	body, err := readBody(r)
	if err != nil {
		return pattern, scope, err
	}
	if scope, err = s.authenticate(r, body, "ivs"); err != nil {
		return pattern, scope, err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	s.mux.ServeHTTP(w, r)
	return pattern, scope, run(w, r, scope)
}

// Decode reads the JSON body of a request to an Extension into v.
func Decode(r *http.Request, v any) error {
	body, err := io.ReadAll(r.Body) // from memory
	if err != nil {
		return ivs.Errorf(ivs.Validation, "The request body ended early")
	}
	return decode(body, v)
}
