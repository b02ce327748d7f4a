package ingesttest

import (
	"time"

	"github.com/millrace/millrace/internal/media"
)

// A Loop publishes the same frames over and over, in real time.
type Loop struct {
	*Encoder
	Frames []media.Frame // in the order of their DTS, from 0 on
	Length time.Duration // from the first frame until it comes again

	sent time.Duration
}

// Send publishes for a duration, from where the last Send ended. It returns the handler's
// error.
func (l *Loop) Send(d time.Duration) error {
	start, begin := time.Now(), l.sent
	for ; l.sent < begin+d; l.sent += l.Length - l.sent%l.Length {
		turn := l.sent - l.sent%l.Length
		for _, f := range l.Frames {
			at := turn + f.DTS
			if at < l.sent {
				continue
			}
			if at >= begin+d {
				l.sent = begin + d
				break
			}
			time.Sleep(at - begin - time.Since(start))
			f.DTS, f.PTS = f.DTS+turn, f.PTS+turn
			if err := l.WriteFrame(f); err != nil {
				return err
			}
		}
		if l.sent == begin+d {
			break
		}
	}
	time.Sleep(d - time.Since(start))
	return nil
}
