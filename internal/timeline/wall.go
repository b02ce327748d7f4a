package timeline

import "time"

const (
	// wallWindow is how long the least delayed frame is looked for. Key frames
	// and thin uplinks delay most of the others.
	wallWindow = 4 * time.Second

	// maxSlew is how far the epoch moves after each window: 0.25 %, where
	// crystals drift by 0.01 %. An uplink that is congested for half a minute
	// moves it by less than a tenth of a second, and back.
	maxSlew = 10 * time.Millisecond
)

// wall finds out which time of day the broadcast's timeline stands for: the
// encoder's clock and ours drift apart by seconds in a broadcast of days.
type wall struct {
	epoch time.Time     // the time of day at zero of the timeline
	late  time.Duration // by epoch, how late the least delayed frame of the window came
	until time.Duration // DTS at which the window ends
	known bool
}

func (w *wall) observe(dts time.Duration, now time.Time) {
	if !w.known {
		*w = wall{epoch: now.Add(-dts), until: dts + wallWindow, known: true}
		return
	}
	w.late = min(w.late, now.Sub(w.epoch)-dts)
	if dts < w.until {
		return
	}
	w.epoch = w.epoch.Add(min(max(w.late, -maxSlew), maxSlew))
	w.late, w.until = now.Sub(w.epoch)-dts, dts+wallWindow
}
