// Package clocktest makes times as read on a machine whose wall clock was set, for tests.
package clocktest

import (
	"time"
	"unsafe"
)

// Set returns t as a process reads it after its wall clock has been set by that many
// whole seconds: the wall clock reading differs, the monotonic clock reading is the same.
// Like the result of time.Now, t must have both.
func Set(t time.Time, by time.Duration) time.Time {
	const nanoseconds = 30 // bits of the first word below the seconds, where there is a monotonic reading
	set := t
	*(*uint64)(unsafe.Pointer(&set)) += uint64(by/time.Second) << nanoseconds
	if set.Sub(t) != 0 || set.Round(0).Sub(t.Round(0)) != by {
		panic("clocktest: the time has no monotonic reading, or is not laid out as package time had it")
	}
	return set
}
