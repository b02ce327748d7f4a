package bucket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// An Object describes an object without its content.
type Object struct {
	Key      string
	Size     int64 // bytes
	Modified time.Time
	ETag     string // with quotes; changes with the content; "" in the results of List
	Cache    string // Cache-Control; "" in a folder, which keeps none, and in the results of List
}

// An Error is a failed operation on a bucket.
type Error struct {
	Bucket string
	Op     string // such as "write ivs/v1/…/0.ts"
	Err    error

	// Refused is set if retrying does not help until an operator changes the bucket or
	// its permissions: it is missing, or access is denied.
	Refused bool
}

func (e *Error) Error() string { return fmt.Sprintf("%s in bucket %s: %v", e.Op, e.Bucket, e.Err) }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Refused reports whether err says that a bucket is missing or denies access.
func Refused(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Refused
}

// ErrNotFound is wrapped by the error of Get for a key that does not exist.
var ErrNotFound = errors.New("no such object")

// Content types and how long caches may keep an object, by what it is. A CDN
// that stands in front of the bucket hands both on.
const (
	Immutable = "public, max-age=31536000, immutable" // media: a name is written once
	Growing   = "public, max-age=2"                   // a playlist that is still added to, the latest thumbnail
	Final     = "public, max-age=300"                 // a playlist that has ended, the JSON files
)

// ContentType returns the content type of an object, by the extension of its key.
func ContentType(key string) string {
	switch path.Ext(key) {
	case ".m3u8":
		return "application/vnd.apple.mpegurl"
	case ".ts":
		return "video/mp2t"
	case ".mp4":
		return "video/mp4"
	case ".jpg":
		return "image/jpeg"
	case ".json":
		return "application/json"
	}
	return "application/octet-stream"
}

// Find returns an error if a bucket does not exist, without writing to it.
func (p *Place) Find(ctx context.Context, bucket string) error {
	if err := p.faults.delay(ctx, bucket); err != nil {
		return &Error{Bucket: bucket, Op: "find", Err: err}
	}
	if p.s3 == nil {
		return p.inFolder(bucket, "find the folder", func(string) error { return nil })
	}
	if _, err := p.s3.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &bucket}); err != nil {
		return s3Error(bucket, "find", err)
	}
	return nil
}

// Put writes an object atomically: readers see the old one until the new one is complete.
// body is read from its start. cache is the Cache-Control that S3 returns. In a folder
// the object is on disk when Put returns, unless it is Growing and so about to be
// replaced.
func (p *Place) Put(ctx context.Context, bucket, key, cache string, body io.ReadSeeker) error {
	if err := p.faults.wait(ctx, bucket); err != nil {
		return &Error{Bucket: bucket, Op: "write " + key, Err: err}
	}
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return &Error{Bucket: bucket, Op: "write " + key, Err: err}
	}
	if p.s3 != nil {
		return p.putS3(ctx, bucket, key, cache, body)
	}
	return p.inFolder(bucket, "write "+key, func(dir string) error {
		synced := cache != Growing
		return replace(filepath.Join(dir, filepath.FromSlash(key)), synced, func(temporary string) error { return writeNew(temporary, body, synced) })
	})
}

// PutFile writes an object from a file that is on disk and will not change any more. In a
// folder of the same file system no copy is made.
func (p *Place) PutFile(ctx context.Context, bucket, key, cache, file string) error {
	if p.s3 == nil {
		if err := p.faults.wait(ctx, bucket); err != nil {
			return &Error{Bucket: bucket, Op: "write " + key, Err: err}
		}
		linked := p.inFolder(bucket, "write "+key, func(dir string) error {
			return replace(filepath.Join(dir, filepath.FromSlash(key)), true, func(temporary string) error { return os.Link(file, temporary) })
		})
		if linked == nil {
			uncache(file)
		}
		if linked == nil || Refused(linked) {
			return linked
		}
	}
	f, err := os.Open(file)
	if err != nil {
		return &Error{Bucket: bucket, Op: "write " + key, Err: err}
	}
	defer f.Close()
	return p.Put(ctx, bucket, key, cache, f)
}

// inFolder calls f with the folder of a bucket.
func (p *Place) inFolder(bucket, op string, f func(dir string) error) error {
	dir := filepath.Join(p.folder, bucket)
	_, err := os.Stat(dir)
	missing := errors.Is(err, fs.ErrNotExist)
	if err == nil {
		err = f(dir)
	}
	if err != nil {
		return &Error{Bucket: bucket, Op: op, Err: err, Refused: missing || errors.Is(err, fs.ErrPermission)}
	}
	return nil
}

// temporaryPrefix begins the names of files that are being written. No key has
// an element that begins so.
const temporaryPrefix = ".millrace-"

// replace has make create a file under a temporary name, and gives it its own.
// With synced the name is on disk when replace returns.
func replace(name string, synced bool, make func(temporary string) error) error {
	dir := filepath.Dir(name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	temporary := filepath.Join(dir, temporaryPrefix+filepath.Base(name))
	os.Remove(temporary) // a crash may have left one
	if err := make(temporary); err != nil {
		os.Remove(temporary)
		return err
	}
	if err := os.Rename(temporary, name); err != nil {
		os.Remove(temporary)
		return err
	}
	if !synced {
		return nil
	}
	return SyncFolder(dir)
}

// writeNew writes a new file. It fails when that has stalled, as the upload to S3 does.
func writeNew(name string, body io.ReadSeeker, synced bool) error {
	u := &upload{body: body, last: time.Now()}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, u); err != nil {
		f.Close()
		return err
	}
	if synced {
		err = f.Sync()
		u.last = time.Now() // a disk may take long
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return u.check(time.Now())
}

// SyncFolder makes what was renamed in a folder survive a loss of power. On Windows it does
// nothing: folders cannot be synchronised there, and NTFS writes renames to its journal.
func SyncFolder(path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Get opens an object for reading. The caller must close it. If there is no such object
// the error wraps ErrNotFound.
func (p *Place) Get(ctx context.Context, bucket, key string) (io.ReadSeekCloser, Object, error) {
	if !validKey(key) {
		return nil, Object{}, &Error{Bucket: bucket, Op: "read " + key, Err: ErrNotFound}
	}
	if err := p.faults.delay(ctx, bucket); err != nil {
		return nil, Object{}, &Error{Bucket: bucket, Op: "read " + key, Err: err}
	}
	if p.s3 != nil {
		return p.getS3(ctx, bucket, key)
	}
	f, err := os.Open(filepath.Join(p.folder, bucket, filepath.FromSlash(key)))
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = ErrNotFound
		}
		return nil, Object{}, &Error{Bucket: bucket, Op: "read " + key, Err: err, Refused: errors.Is(err, fs.ErrPermission)}
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = ErrNotFound
	}
	if err != nil {
		f.Close()
		return nil, Object{}, &Error{Bucket: bucket, Op: "read " + key, Err: err}
	}
	return f, Object{Key: key, Size: info.Size(), Modified: info.ModTime(), ETag: fmt.Sprintf(`"%x-%x"`, info.Size(), info.ModTime().UnixNano())}, nil
}

// validKey reports whether a key is one that Put can have written: without
// elements that are empty, or begin with a dot.
func validKey(key string) bool {
	for element := range strings.SplitSeq(key, "/") {
		if element == "" || element[0] == '.' {
			return false
		}
	}
	return true
}

// List returns the objects whose keys begin with prefix, which ends in a slash,
// ordered by key.
func (p *Place) List(ctx context.Context, bucket, prefix string) (all []Object, err error) {
	if err := p.faults.delay(ctx, bucket); err != nil {
		return nil, &Error{Bucket: bucket, Op: "list " + prefix, Err: err}
	}
	if p.s3 != nil {
		return p.listS3(ctx, bucket, prefix)
	}
	root := filepath.Join(p.folder, bucket)
	err = filepath.WalkDir(filepath.Join(root, filepath.FromSlash(prefix)), func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(d.Name(), temporaryPrefix) {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		key, err := filepath.Rel(root, name)
		all = append(all, Object{Key: filepath.ToSlash(key), Size: info.Size(), Modified: info.ModTime()})
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, &Error{Bucket: bucket, Op: "list " + prefix, Err: err}
	}
	return all, nil
}
