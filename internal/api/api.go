// Package api serves the Amazon IVS API (restJson1 over HTTP,
// signed with Signature Version 4) and STS GetCallerIdentity beside it.
package api

import (
	"cmp"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/reqbody"
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/strictjson"
)

// A Server handles API calls. It is an http.Handler for POST /<Operation>, /tags/{arn}
// and STS's POST /.
type Server struct {
	Store     *store.DB
	Endpoints ivs.Endpoints // the addresses that channels show

	Root    Root
	Region  string // the default region when AuthOff is set and the signature has none
	AuthOff bool   // any signature, or none, is accepted

	// AuthOffOrigins are the origins, such as http://localhost:3000, whose pages may make
	// calls while AuthOff is set; "*" allows all.
	AuthOffOrigins []string

	Quotas   Quotas
	Throttle bool  // refuses calls above the published rates; false sets no rates
	MaxCalls int64 // authenticated calls handled at the same time; 0 means no limit

	// CheckBucket reports why recordings cannot be written to a bucket of the account;
	// nil means that this server stores no recordings.
	CheckBucket func(ctx context.Context, account, bucket string) error

	Live Live // operations on live streams

	// Extensions are the calls below /_millrace/, by pattern of http.ServeMux. They must
	// not be changed after the first request.
	Extensions map[string]Extension

	Log *slog.Logger     // nil means slog.Default()
	Now func() time.Time // nil means time.Now

	rates     rates
	signIns   reqbody.Receiver
	admission admission
	lastKey   atomic.Pointer[signingKey] // of the last valid signature
	akiaOnce  sync.Once                  // a real AWS key is warned about
}

// Root is the account that the server belongs to, with its credentials.
type Root struct {
	Account string // 12 digits; also the default account when AuthOff is set

	// Keys are the access keys with which calls may be signed, that to give out first:
	// more than one while they are being replaced. It is asked for each call. Nil means
	// none.
	Keys func() []AccessKey
}

// An AccessKey is root credentials.
type AccessKey struct {
	AccessKeyID     string
	SecretAccessKey string
}

func (r Root) keys() []AccessKey {
	if r.Keys == nil {
		return nil
	}
	return r.Keys()
}

// first is the access key to give out; zero if there is none.
func (r Root) first() (k AccessKey) {
	if keys := r.keys(); len(keys) > 0 {
		k = keys[0]
	}
	return k
}

// secret returns the secret of an access key; "" if it is unknown.
func (r Root) secret(accessKeyID string) (secret string) {
	for _, k := range r.keys() {
		if subtle.ConstantTimeCompare([]byte(accessKeyID), []byte(k.AccessKeyID)) == 1 {
			secret = k.SecretAccessKey
		}
	}
	return secret
}

// Live has the operations on live streams. Unless stated otherwise, their errors are of
// kind ivs.NotBroadcasting if the channel has no stream, or ivs.StreamUnavailable if
// another node has it.
type Live struct {
	// PutMetadata sends text to all viewers of a channel. It returns ivs.Throttling if
	// too much metadata is queued.
	PutMetadata func(ctx context.Context, channelARN, text string) error

	// InsertAdBreak begins an ad break on a channel. It returns ivs.Conflict while one is
	// running.
	InsertAdBreak func(ctx context.Context, channelARN, id string, length time.Duration) error

	// StopStream disconnects the encoder of a channel and returns when its session has
	// ended.
	StopStream func(ctx context.Context, channelARN string) error
}

// callTimeout is how long a call may take once it has been read: less than any
// SDK waits, so that the caller gets an answer even if the database gives none.
const callTimeout = 20 * time.Second

// A request holds the parts of a call that its operation uses.
type request struct {
	body  []byte
	arn   string // of the resource that the path names, in tag operations
	query string // as it was sent
	scope store.Scope
}

// An operation is one call of the API.
type operation struct {
	name string
	rate int // calls a second that Amazon IVS allows an account in a region

	// run checks and runs it. What it returns is the answer's body; noContent
	// stands for an empty one.
	run func(s *Server, ctx context.Context, r request) (any, error)
}

// noContent is the output of operations that answer 204.
type noContent struct{}

// operations are the calls of the form POST /<name>.
var operations = byName(
	op("BatchGetChannel", 5, (*Server).batchGetChannel),
	op("BatchGetStreamKey", 5, (*Server).batchGetStreamKey),
	op("BatchStartViewerSessionRevocation", 2, (*Server).batchStartViewerSessionRevocation),
	op("CreateAdConfiguration", 3, (*Server).createAdConfiguration),
	op("CreateChannel", 5, (*Server).createChannel),
	op("CreatePlaybackRestrictionPolicy", 5, (*Server).createPlaybackRestrictionPolicy),
	op("CreateRecordingConfiguration", 3, (*Server).createRecordingConfiguration),
	op("CreateStreamKey", 5, (*Server).createStreamKey),
	op("DeleteAdConfiguration", 3, (*Server).deleteAdConfiguration),
	op("DeleteChannel", 5, (*Server).deleteChannel),
	op("DeletePlaybackKeyPair", 3, (*Server).deletePlaybackKeyPair),
	op("DeletePlaybackRestrictionPolicy", 5, (*Server).deletePlaybackRestrictionPolicy),
	op("DeleteRecordingConfiguration", 3, (*Server).deleteRecordingConfiguration),
	op("DeleteStreamKey", 5, (*Server).deleteStreamKey),
	op("GetAdConfiguration", 3, (*Server).getAdConfiguration),
	op("GetChannel", 5, (*Server).getChannel),
	op("GetPlaybackKeyPair", 3, (*Server).getPlaybackKeyPair),
	op("GetPlaybackRestrictionPolicy", 5, (*Server).getPlaybackRestrictionPolicy),
	op("GetRecordingConfiguration", 3, (*Server).getRecordingConfiguration),
	op("GetStream", 5, (*Server).getStream),
	op("GetStreamKey", 5, (*Server).getStreamKey),
	op("GetStreamSession", 5, (*Server).getStreamSession),
	op("ImportPlaybackKeyPair", 3, (*Server).importPlaybackKeyPair),
	op("InsertAdBreak", 1, (*Server).insertAdBreak),
	op("ListAdConfigurations", 3, (*Server).listAdConfigurations),
	op("ListChannels", 5, (*Server).listChannels),
	op("ListPlaybackKeyPairs", 3, (*Server).listPlaybackKeyPairs),
	op("ListPlaybackRestrictionPolicies", 5, (*Server).listPlaybackRestrictionPolicies),
	op("ListRecordingConfigurations", 3, (*Server).listRecordingConfigurations),
	op("ListStreamKeys", 5, (*Server).listStreamKeys),
	op("ListStreamSessions", 5, (*Server).listStreamSessions),
	op("ListStreams", 5, (*Server).listStreams),
	op("PutMetadata", 155, (*Server).putMetadata),
	op("StartViewerSessionRevocation", 10, (*Server).startViewerSessionRevocation),
	op("StopStream", 5, (*Server).stopStream),
	op("UpdateAdConfiguration", 3, (*Server).updateAdConfiguration), // not in the published list of rates: the same as its siblings
	op("UpdateChannel", 5, (*Server).updateChannel),
	op("UpdatePlaybackRestrictionPolicy", 5, (*Server).updatePlaybackRestrictionPolicy),
)

// tagOperations are the calls on /tags/{arn}, by method.
var tagOperations = map[string]operation{
	http.MethodGet:    op("ListTagsForResource", 10, (*Server).listTagsForResource),
	http.MethodPost:   op("TagResource", 10, (*Server).tagResource),
	http.MethodDelete: op("UntagResource", 10, (*Server).untagResource),
}

func byName(all ...operation) map[string]operation {
	m := make(map[string]operation, len(all))
	for _, o := range all {
		m[o.name] = o
	}
	return m
}

// An input is a pointer to the shape of an operation's request, which knows
// its own constraints.
type input[T any] interface {
	*T
	check(*checker)
}

// A routedInput has members that are not in the body, but in the path or the
// query.
type routedInput interface{ takeRoute(request) }

// op makes an operation of f, which sees only requests that satisfy their shape
// and resources within the caller's scope.
func op[T any, In input[T], Out any](name string, rate int, f func(*Server, context.Context, store.Scope, In) (Out, error)) operation {
	return operation{name, rate, func(s *Server, ctx context.Context, r request) (any, error) {
		in := In(new(T))
		if err := decode(r.body, in); err != nil {
			return nil, err
		}
		if in, ok := any(in).(routedInput); ok {
			in.takeRoute(r)
		}
		c := checker{operation: name, scope: r.scope}
		in.check(&c)
		if err := c.err(); err != nil {
			return nil, err
		}
		return f(s, ctx, r.scope, in)
	}}
}

// ServeHTTP handles one call.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	id := ivs.NewUUID()
	maps.Copy(w.Header(), commonHeaders)
	w.Header().Set("X-Amzn-Requestid", id)
	if err := s.checkBrowser(r); err != nil {
		w.Header().Del("Access-Control-Allow-Origin")
		s.log(r, id, r.Method, store.Scope{}, start, err)
		reply(w, nil, err)
		return
	}
	switch {
	case r.Method == http.MethodOptions:
		preflight(w)
	case r.URL.Path == signInPath && r.Method == http.MethodPost:
		err := s.signIn(w, r)
		s.log(r, id, "sign-in", store.Scope{}, start, err)
		if err != nil {
			reply(w, nil, err)
		}
	case s.AuthOff && r.URL.Path == probePath:
		probe(w)
	case strings.HasPrefix(r.URL.Path, extensionRoot):
		s.extensionMux().ServeHTTP(w, r)
	case isQuery(r):
		scope, err := s.serveSTS(w, r, id)
		s.log(r, id, "GetCallerIdentity", scope, start, err)
	default:
		name, scope, out, err := s.call(w, r)
		s.log(r, id, name, scope, start, err)
		if ivs.Is(err, ivs.UnknownOperation) && signedFor(r) == "s3" {
			replyS3(w, id, err)
			return
		}
		reply(w, out, err)
	}
}

// call finds, verifies and runs the operation that r asks for.
func (s *Server) call(w http.ResponseWriter, r *http.Request) (name string, scope store.Scope, out any, err error) {
	name, o, arn := route(r)
	if o.run == nil {
		return name, scope, nil, unknownOperation(r, name)
	}
	body, scope, leave, err := s.admit(w, r, "ivs")
	if err != nil {
		return name, scope, nil, err
	}
	defer leave()
	ctx, cancel := context.WithTimeout(r.Context(), callTimeout)
	defer cancel()
	if err := s.throttle(o, scope); err != nil {
		return name, scope, nil, err
	}
	out, err = o.run(s, ctx, request{body: body, arn: arn, query: r.URL.RawQuery, scope: scope})
	return name, scope, out, err
}

// route finds the operation, one without run if there is none, and the ARN in a
// tag path. SDKs send that ARN as one segment, percent-encoded; a plain / is
// accepted too. What stands in front is the path of the client's endpoint URL.
func route(r *http.Request) (name string, o operation, arn string) {
	if _, arn, ok := strings.Cut(r.URL.Path, "/tags/"); ok {
		return r.Method + " /tags", tagOperations[r.Method], arn
	}
	name = r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	if o, ok := operations[name]; ok && r.Method == http.MethodPost {
		return name, o, ""
	}
	return strings.TrimPrefix(r.URL.Path, "/"), operation{}, ""
}

// queryValues are the values of a parameter of a query. A "+" is itself, as in
// signatures and in what SDKs send: only forms make it a space.
func queryValues(raw, name string) (values []string) {
	for pair := range strings.SplitSeq(raw, "&") {
		k, v, _ := strings.Cut(pair, "=")
		if k, err := url.PathUnescape(k); err != nil || k != name {
			continue
		}
		if v, err := url.PathUnescape(v); err == nil {
			values = append(values, v)
		}
	}
	return values
}

// decode reads a JSON body. No body means no members; unknown members are
// ignored, as AWS does, so that newer clients work.
func decode(body []byte, v any) error {
	if len(body) == 0 {
		return nil
	}
	err := strictjson.Unmarshal(body, v)
	if e, ok := errors.AsType[*strictjson.Error](err); ok {
		return ivs.Errorf(ivs.Validation, "%s %s", cmp.Or(e.Member, "The request body"), e.Reason)
	}
	return err
}

// reply writes the answer to a restJson1 call.
func reply(w http.ResponseWriter, out any, err error) {
	status := http.StatusOK
	var body []byte
	if err == nil {
		if _, empty := out.(noContent); empty {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		body, err = json.Marshal(out)
	}
	if err != nil {
		kind, msg := ivs.Public(err)
		status, body = kind.Status(), errorBody(kind, msg)
		w.Header().Set("X-Amzn-Errortype", kind.Code())
		if kind == ivs.ServiceUnavailable {
			w.Header().Set("Retry-After", "1")
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	w.Write(body) // the client may have left
}

// An ErrorOutput is an error as every SDK reads it: Go and JavaScript show
// exceptionMessage, boto3 and the AWS CLI message.
type ErrorOutput struct {
	Type             string `json:"__type"` // the code, such as ResourceNotFoundException
	Message          string `json:"message"`
	ExceptionMessage string `json:"exceptionMessage"` // the message again; SDKs differ in which they show
}

func errorBody(kind ivs.Kind, msg string) []byte {
	body, _ := json.Marshal(ErrorOutput{kind.Code(), msg, msg}) // strings always encode
	return body
}

// commonHeaders are the headers of every response, in addition to the request id, which is
// also logged. The CORS headers are those of AWS, unlike those of media
// (hls.AllowAnyOrigin). They must not be changed.
var commonHeaders = http.Header{
	"Access-Control-Allow-Origin":   {"*"},
	"Access-Control-Expose-Headers": {"x-amzn-errortype,x-amzn-requestid,x-amzn-errormessage,x-amzn-trace-id,x-amz-apigw-id,date"},
	"Cache-Control":                 {"no-store"},
	"X-Content-Type-Options":        {"nosniff"},
	"Content-Security-Policy":       {"default-src 'none'; frame-ancestors 'none'"},
	"X-Frame-Options":               {"DENY"},
}

// preflight lets browsers send signed calls.
func preflight(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Access-Control-Allow-Methods", "GET,POST,DELETE,OPTIONS")
	h.Set("Access-Control-Allow-Headers", "Authorization,Content-Type,X-Amz-Date,X-Amz-Security-Token,X-Amz-Target,"+
		"X-Api-Key,X-Amz-Content-Sha256,X-Amz-User-Agent,amz-sdk-invocation-id,amz-sdk-request")
	h.Set("Access-Control-Max-Age", "86400")
	w.WriteHeader(http.StatusOK)
}

// log writes the one line of a call. What goes wrong inside is an error here
// and nowhere else.
func (s *Server) log(r *http.Request, id, name string, scope store.Scope, start time.Time, err error) {
	log, level := s.logger(), slog.LevelDebug
	kind, _ := ivs.Public(err)
	failed := err != nil && kind == ivs.Internal && r.Context().Err() == nil
	if failed {
		level = slog.LevelError
	}
	if !log.Enabled(r.Context(), level) {
		return
	}
	attrs := []slog.Attr{slog.String("operation", name), slog.String("request_id", id),
		slog.String("account", scope.Account), slog.String("region", scope.Region), slog.Duration("took", time.Since(start))}
	if err != nil {
		attrs = append(attrs, slog.String("error", fmt.Sprint(err)))
	}
	if failed { // under a name of its own, which is limited: callers without a key can cause it
		log.LogAttrs(r.Context(), level, "API call failed", attrs...)
		return
	}
	log.LogAttrs(r.Context(), level, "API call", attrs...)
}

func (s *Server) logger() *slog.Logger {
	if s.Log == nil {
		return slog.Default()
	}
	return s.Log
}

func (s *Server) now() time.Time {
	if s.Now == nil {
		return time.Now()
	}
	return s.Now()
}
