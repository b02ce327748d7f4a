package live

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
)

// PutMetadata sends text to every viewer of a live channel, at one position of the media.
// It returns the error of NotHere if the channel is not live on this node, or
// ivs.Throttling if too much metadata is queued.
func (h *Hub) PutMetadata(ctx context.Context, arn, text string) error {
	s := h.LiveSession(arn)
	if s == nil {
		return h.NotHere(ctx, arn)
	}
	err := s.Stream.AddMetadata(text)
	if errors.Is(err, hls.ErrTooMuch) {
		return ivs.Errorf(ivs.Throttling, "Too much metadata is queued for channel %s", arn)
	}
	return err
}

// InsertAdBreak puts the cue of an ad break at the live edge and records Ad Break
// Inserted, later if the database is unavailable. It returns the error of NotHere if the
// channel is not live on this node, or ivs.Conflict during a break.
func (h *Hub) InsertAdBreak(ctx context.Context, arn, id string, length time.Duration) error {
	s := h.LiveSession(arn)
	if s == nil {
		return h.NotHere(ctx, arn)
	}
	start, err := s.Stream.AddAdBreak(id, length)
	if errors.Is(err, hls.ErrBreakRunning) {
		return ivs.Errorf(ivs.Conflict, "An ad break is running on channel %s", arn)
	}
	if err != nil {
		return err
	}
	s.log.Info("ad break inserted", "id", id, "start", start, "length", length)
	at, err := json.Marshal(ivs.Time{Time: start})
	if err != nil {
		return err
	}
	s.addEvents(store.Event{
		Type: ivs.EventAdBreakState,
		Name: ivs.AdBreakInserted,
		At:   time.Now(),
		Detail: map[string]any{
			"ad_break_id":       id,
			"duration_seconds":  int(length / time.Second),
			"target_start_time": json.RawMessage(at),
		},
	})
	err = s.flush(ctx, s.health())
	if s.hasLeft() { // the end of the session may have been written without the event
		return h.NotHere(ctx, arn)
	}
	if err != nil { // viewers have the break
		s.log.Warn("Ad Break Inserted is written later", "id", id, "error", err)
	}
	return nil
}
