package hls

import "net/http"

// Multivariant renders the multivariant playlist: each rendition that has
// media, with measured bit rates. prefix is the relative path that is put
// before "<rendition>/playlist.m3u8". It is nil while nothing can be played.
func (s *Stream) Multivariant(prefix string) []byte { return nil }

// ServeHTTP answers for the media playlists, parts and segments of the stream.
// The request's path, without what the caller has mounted the stream under, is
// "<rendition>/playlist.m3u8" or a name that such a playlist lists.
func (s *Stream) ServeHTTP(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }

// Release gives the media's memory back at once. Requests then get 404, except
// those that are being answered. The garbage collector does the same for a
// Stream that nobody holds.
func (s *Stream) Release() {}
