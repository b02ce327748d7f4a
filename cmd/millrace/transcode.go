package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/millrace/millrace/internal/transcode"
)

// transcodeFlags configure how renditions are made.
type transcodeFlags struct {
	Transcode         string  `name:"transcode" enum:"auto,off,required" default:"auto" help:"Make the renditions of STANDARD and ADVANCED channels with ffmpeg: auto makes them if that is possible, and otherwise viewers get only the source; off makes none; required refuses broadcasts that cannot be transcoded (${default})."`
	Encoder           string  `name:"encoder" default:"libx264" placeholder:"NAME" help:"What ffmpeg encodes with; millrace encoders lists what works here (${default})."`
	TranscodeCapacity float64 `name:"transcode-capacity" placeholder:"N" help:"How much to transcode at a time, in ladders of a 1280x720 broadcast at 30 frames a second. Default: measured at the start."`
	FFmpeg            string  `name:"ffmpeg" default:"ffmpeg" placeholder:"FILE" help:"The ffmpeg to transcode with (${default})."`
}

// newPool returns the pool that the flags ask for. ffmpeg works in folder.
func (f transcodeFlags) newPool(folder string, log *slog.Logger) (*transcode.Pool, error) {
	return transcode.NewPool(transcode.Settings{
		Mode: f.Transcode, Encoder: f.Encoder, FFmpeg: f.FFmpeg, Capacity: f.TranscodeCapacity, Folder: folder, Log: log,
	})
}

type encodersCommand struct {
	FFmpeg string `name:"ffmpeg" default:"ffmpeg" placeholder:"FILE" help:"The ffmpeg to ask (${default})."`
}

// Run tries every encoder that Millrace supports, and prints which work.
func (c encodersCommand) Run(ctx context.Context) error {
	for _, e := range transcode.Encoders {
		says := "works"
		if err := e.Check(ctx, c.FFmpeg); err != nil {
			says = "does not work here: " + err.Error()
		}
		fmt.Printf("%-12s %-42s %s\n", e.Name, e.About, says)
	}
	return ctx.Err()
}
