package ivs

import (
	"errors"
	"fmt"
)

// A Kind is the kind of an API error, as far as callers can act on it.
type Kind uint8

// The kinds of error. The zero Kind is Internal, so an unclassified error shows
// the caller nothing.
const (
	Internal Kind = iota
	AccessDenied
	Conflict
	NotBroadcasting // the channel is not live
	PendingVerification
	QuotaExceeded
	NotFound
	StreamUnavailable
	Throttling
	ServiceUnavailable
	Validation
	UnknownOperation
	TooLarge

	// Errors of the signature check, before any operation runs.
	MissingToken
	IncompleteSignature
	UnrecognizedClient
	InvalidSignature

	numKinds
)

// kinds gives each Kind its name and HTTP status on the wire. The first block
// is the IVS model's own exceptions; the rest are the common AWS errors.
var kinds = [numKinds]struct {
	code   string
	status int
}{
	Internal:            {"InternalServerException", 500},
	AccessDenied:        {"AccessDeniedException", 403},
	Conflict:            {"ConflictException", 409},
	NotBroadcasting:     {"ChannelNotBroadcasting", 404},
	PendingVerification: {"PendingVerification", 403},
	QuotaExceeded:       {"ServiceQuotaExceededException", 402},
	NotFound:            {"ResourceNotFoundException", 404},
	StreamUnavailable:   {"StreamUnavailable", 503},
	Throttling:          {"ThrottlingException", 429},
	ServiceUnavailable:  {"ServiceUnavailable", 503},
	Validation:          {"ValidationException", 400},
	UnknownOperation:    {"UnknownOperationException", 404},
	TooLarge:            {"RequestEntityTooLargeException", 413},

	MissingToken:        {"MissingAuthenticationTokenException", 403},
	IncompleteSignature: {"IncompleteSignatureException", 403},
	UnrecognizedClient:  {"UnrecognizedClientException", 403},
	InvalidSignature:    {"InvalidSignatureException", 403},
}

// Code returns the error's name on the wire, such as ResourceNotFoundException.
func (k Kind) Code() string { return kinds[k].code }

// KindOf returns the kind with that code; ok is false if there is none.
func KindOf(code string) (k Kind, ok bool) {
	for k := range numKinds {
		if kinds[k].code == code {
			return k, true
		}
	}
	return Internal, false
}

// Status returns the HTTP status of the error.
func (k Kind) Status() int { return kinds[k].status }

func (k Kind) String() string { return k.Code() }

// An Error is an error that callers of the API may see.
type Error struct {
	Kind Kind
	Msg  string
}

func (e *Error) Error() string { return e.Kind.Code() + ": " + e.Msg }

// Errorf makes an Error. Its text is shown to the caller: it must not reveal secrets or
// internals.
func Errorf(kind Kind, format string, args ...any) error {
	return &Error{kind, fmt.Sprintf(format, args...)}
}

// NoSuch returns the NotFound error for an ARN, in the words of AWS. It is the same for
// another account's resource as for one that does not exist, so that callers learn
// nothing about other accounts.
func NoSuch(arn string) error { return Errorf(NotFound, "Resource: %s not found", arn) }

// NotLive returns the NotBroadcasting error for a channel, in the words of AWS.
func NotLive(channelARN string) error {
	return Errorf(NotBroadcasting, "Channel: %s is not currently online", channelARN)
}

// Is reports whether err is an Error of the given kind.
func Is(err error, kind Kind) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Kind == kind
}

// Public returns what the caller may see of err: the Error it wraps, or an internal error
// without details.
func Public(err error) (Kind, string) {
	if e, ok := errors.AsType[*Error](err); ok && e.Kind != Internal {
		return e.Kind, e.Msg
	}
	return Internal, "An internal error occurred. Its details are in the server's log under this request id."
}
