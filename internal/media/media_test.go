package media_test

import (
	"errors"
	"io"
	"testing"

	"github.com/millrace/millrace/internal/media"
)

// source has n frames and then err.
type source struct {
	n   int
	err error
}

func (s *source) ReadFrame() (media.Frame, error) {
	if s.n == 0 {
		return media.Frame{}, s.err
	}
	s.n--
	return media.Frame{Data: []byte{1}}, nil
}

// sink takes room frames and then fails with err.
type sink struct {
	room int
	err  error
}

func (s *sink) WriteFrame(media.Frame) error {
	if s.room == 0 {
		return s.err
	}
	s.room--
	return nil
}

func TestCopy(t *testing.T) {
	cut, full := errors.New("cut"), errors.New("full")
	for _, tt := range []struct {
		name string
		src  source
		room int
		n    int64
		err  error
	}{
		{"ends cleanly", source{3, io.EOF}, 9, 3, nil},
		{"reader fails", source{2, cut}, 9, 2, cut},
		{"writer fails", source{3, io.EOF}, 1, 1, full},
	} {
		n, err := media.Copy(&sink{tt.room, full}, &tt.src)
		if n != tt.n || !errors.Is(err, tt.err) {
			t.Errorf("%s: Copy = %d, %v; want %d, %v", tt.name, n, err, tt.n, tt.err)
		}
	}
}
