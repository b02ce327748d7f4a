package media

// InputStats counts what an encoder sent that could not be carried as it came.
type InputStats struct {
	Early      int64 // frames dropped because their track's configuration had not come
	Malformed  int64 // frames dropped, or cut where they stop making sense
	BadConfigs int64 // configurations left out because they are damaged
	Repaired   int64 // frames brought into the form of Frame.Data: start codes, odd lengths, empty units, ADTS
	Joined     int64 // frames that came in several messages
}

// Add returns the sums of both.
func (s InputStats) Add(o InputStats) InputStats {
	return InputStats{s.Early + o.Early, s.Malformed + o.Malformed, s.BadConfigs + o.BadConfigs, s.Repaired + o.Repaired, s.Joined + o.Joined}
}
