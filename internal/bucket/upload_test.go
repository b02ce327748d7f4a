package bucket

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// An upload that has stalled for long sends nothing more, at another attempt neither:
// the process may have been paused, and have lost the recording.
func TestUploadStandsStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &upload{body: strings.NewReader("media"), last: time.Now()}
		read := func(want error) {
			t.Helper()
			if n, err := u.Read(make([]byte, 1)); !errors.Is(err, want) || (n == 1) != (want == nil) {
				t.Errorf("%d bytes, %v, want %v", n, err, want)
			}
		}
		read(nil)
		time.Sleep(stallLimit) // the bucket is slow
		read(nil)
		time.Sleep(stallLimit + 1)
		read(errStalled)
		if _, err := u.Seek(0, io.SeekStart); err != nil {
			t.Error(err)
		}
		read(errStalled)
	})
}
