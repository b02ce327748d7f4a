package bucket

import (
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
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

// A slowS3 takes a byte of a body, and the rest after a pause.
type slowS3 struct{ pause time.Duration }

func (s slowS3) Do(r *http.Request) (*http.Response, error) {
	defer r.Body.Close()
	if _, err := io.CopyN(io.Discard, r.Body, 1); err != nil {
		return nil, err
	}
	time.Sleep(s.pause)
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
}

// A slowBody has its last byte after a pause, and ends with it.
type slowBody struct {
	*strings.Reader
	pause time.Duration
}

func (b slowBody) Read(p []byte) (int, error) {
	if b.Len() > 1 {
		return b.Reader.Read(p[:1])
	}
	time.Sleep(b.pause)
	n, _ := b.Reader.Read(p)
	return n, io.EOF
}

// Put leaves no object that has stalled for long on its way, whatever the bucket is.
func TestPutStandsStill(t *testing.T) {
	for pause, want := range map[time.Duration]error{stallLimit: nil, stallLimit + time.Millisecond: errStalled} {
		synctest.Test(t, func(t *testing.T) {
			store := &Place{s3: s3.New(s3.Options{Region: "us-west-2", HTTPClient: slowS3{pause}, Credentials: credentials.NewStaticCredentialsProvider("a", "b", ""),
				BaseEndpoint: aws.String("https://s3.example.com"), UsePathStyle: true})}
			if err := store.Put(t.Context(), "b", "k.m3u8", Growing, strings.NewReader("playlist")); !errors.Is(err, want) {
				t.Errorf("S3 pauses for %v: %v, want %v", pause, err, want)
			}
		})
		synctest.Test(t, func(t *testing.T) {
			folder := &Place{folder: t.TempDir()}
			name := filepath.Join(folder.folder, "b", "k.m3u8")
			if err := errors.Join(os.Mkdir(filepath.Dir(name), 0o755), os.WriteFile(name, []byte("of its new owner"), 0o644)); err != nil {
				t.Fatal(err)
			}
			if err := folder.Put(t.Context(), "b", "k.m3u8", Growing, slowBody{strings.NewReader("playlist"), pause}); !errors.Is(err, want) {
				t.Errorf("a folder, with a pause of %v: %v, want %v", pause, err, want)
			}
			content, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if replaced := string(content) == "playlist"; replaced != (want == nil) {
				t.Errorf("after a pause of %v the object is %q", pause, content)
			}
		})
	}
}
