package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"
)

const (
	// thumbnailFor is how long a thumbnail is served before the owner is asked for a newer one.
	thumbnailFor = 5 * time.Second

	thumbnailTime = 2 * time.Second
	maxThumbnail  = 1 << 20 // bytes
)

// A thumbnail is the latest image that the owner of a stream has returned.
type thumbnail struct {
	mu    sync.Mutex
	asked time.Time // guarded by mu
	jpeg  []byte    // guarded by mu; nil for none
	at    time.Time // guarded by mu; when it was made
}

// Thumbnail returns the latest thumbnail of s, nil if there is none, and when it was made.
// However many viewers request it, the owner is asked for it once every thumbnailFor.
func (s *Stream) Thumbnail(ctx context.Context) (jpeg []byte, at time.Time, err error) {
	t := &s.thumbnail
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.asked.IsZero() || time.Since(t.asked) >= thumbnailFor {
		t.jpeg, t.at, err = s.place.Load().thumbnail(context.WithoutCancel(ctx), s.ID) // for those who wait, too
		t.asked = time.Now()
	}
	return t.jpeg, t.at, err
}

// thumbnail asks for the latest thumbnail of a stream.
func (p *Place) thumbnail(ctx context.Context, streamID string) (jpeg []byte, at time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, thumbnailTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "/streams/"+url.PathEscape(streamID)+"/thumbnail", nil)
	if err != nil {
		return nil, at, err
	}
	res, err := p.Do(req)
	if err != nil {
		return nil, at, err
	}
	defer res.Body.Close()
	switch res.StatusCode {
	case http.StatusOK:
	case http.StatusNoContent, http.StatusNotFound: // 404: the stream has ended, or a version without thumbnails
		return nil, at, nil
	default:
		return nil, at, fmt.Errorf("the owner answers %s", res.Status)
	}
	jpeg, err = io.ReadAll(io.LimitReader(res.Body, maxThumbnail+1))
	if err == nil && len(jpeg) > maxThumbnail {
		err = errors.New("it is larger than a thumbnail may be")
	}
	if err == nil {
		at, err = http.ParseTime(res.Header.Get("Last-Modified"))
	}
	if err != nil {
		return nil, at, fmt.Errorf("%w: the thumbnail: %w", errProtocol, err)
	}
	return jpeg, at, nil
}

// thumbnail answers with the latest thumbnail of a stream, or with 204.
func (o *Owner) thumbnail(w http.ResponseWriter, r *http.Request) {
	s := o.Source(r.PathValue("stream"))
	if s == nil {
		http.Error(w, "this node does not have the stream", http.StatusNotFound)
		return
	}
	jpeg, at := s.Thumbnail()
	if len(jpeg) == 0 {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	w.Header().Set("Content-Type", "image/jpeg")
	w.Header().Set("Content-Length", strconv.Itoa(len(jpeg)))
	w.Header().Set("Last-Modified", at.UTC().Format(http.TimeFormat))
	_, _ = w.Write(jpeg) // the other node may have left
}
