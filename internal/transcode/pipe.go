package transcode

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// maxJPEG bounds a thumbnail. One of 1920x1080 with much detail has 500 KB.
const maxJPEG = 4 << 20

// readJPEGs hands on each image of a run of them. In the data of an image
// 0xFF is followed by 0 or by the number of a restart (ITU-T T.81, B.1.1), so
// the first end marker is its end.
func readJPEGs(r io.Reader, image func([]byte)) error {
	in := bufio.NewReader(r)
	var b []byte
	for {
		piece, err := in.ReadSlice(0xd9)
		b = append(b, piece...)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, os.ErrClosed):
			return nil
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return fmt.Errorf("thumbnails: %w", err)
		case len(b) > maxJPEG, len(b) >= 2 && !bytes.HasPrefix(b, []byte{0xff, 0xd8}):
			return fmt.Errorf("thumbnails: %w", errGarbage)
		case bytes.HasSuffix(b, []byte{0xff, 0xd9}):
			image(b)
			b = nil
		}
	}
}

// A head keeps the beginning of what is written to it: what ffmpeg says first
// is the cause of what it says after.
type head struct {
	mu sync.Mutex
	b  []byte // guarded by mu
}

func (t *head) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, b[:min(len(b), maxSaid-len(t.b))]...)
	return len(b), nil
}

func (t *head) bytes() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return bytes.Clone(t.b)
}
