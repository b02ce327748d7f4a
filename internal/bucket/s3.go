package bucket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// s3Error returns the *Error for an error of the SDK, whose text contains no credentials:
// only the operation, the status and the server's error code.
func s3Error(bucket, op string, err error) error {
	refused := false
	if answer, ok := errors.AsType[*awshttp.ResponseError](err); ok {
		switch code := answer.HTTPStatusCode(); code {
		case http.StatusRequestTimeout, http.StatusConflict, http.StatusTooManyRequests:
		default:
			refused = code >= 300 && code < 500 // another region, denied, missing
		}
		if strings.HasPrefix(op, "read ") && answer.HTTPStatusCode() == http.StatusNotFound {
			err, refused = errors.Join(ErrNotFound, err), false
		}
	}
	return &Error{Bucket: bucket, Op: op, Err: err, Refused: refused}
}

func (p *Place) putS3(ctx context.Context, bucket, key, cache string, body io.ReadSeeker) error {
	_, err := p.s3.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: &upload{body: body, last: time.Now()},
		ContentType: aws.String(ContentType(key)), CacheControl: &cache}, p.put...)
	if err != nil {
		return s3Error(bucket, "write "+key, err)
	}
	return nil
}

// stallLimit is how long an upload may stall. That is less than it takes until
// another node takes a recording over from one that is paused.
const stallLimit = 8 * time.Second

var errStalled = fmt.Errorf("the upload stalled for more than %v: this process was paused, or the bucket did not answer", stallLimit)

// An upload is the body of an object on its way to a bucket. It fails when it was not read for
// long: this process may have been paused, and the object may be another node's by now.
type upload struct {
	body io.ReadSeeker
	last time.Time // when it was last read
	err  error     // errStalled, also for another attempt
}

// Read reads on.
func (u *upload) Read(b []byte) (int, error) {
	now := time.Now()
	if err := u.check(now); err != nil {
		return 0, err
	}
	u.last = now
	return u.body.Read(b)
}

// check returns errStalled if the upload has stalled until now, or before.
func (u *upload) check(now time.Time) error {
	if now.Sub(u.last) > stallLimit {
		u.err = errStalled
	}
	return u.err
}

// Seek is for another attempt, and to find out how long the body is.
func (u *upload) Seek(offset int64, whence int) (int64, error) { return u.body.Seek(offset, whence) }

func (p *Place) getS3(ctx context.Context, bucket, key string) (io.ReadSeekCloser, Object, error) {
	if replaced(key) { // one request, since the next one may get another object
		out, err := p.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
		if err != nil {
			return nil, Object{}, s3Error(bucket, "read "+key, err)
		}
		o := Object{key, aws.ToInt64(out.ContentLength), aws.ToTime(out.LastModified), aws.ToString(out.ETag), aws.ToString(out.CacheControl)}
		return &s3Reader{ctx: ctx, s3: p.s3, bucket: bucket, object: o, body: out.Body}, o, nil
	}
	head, err := p.s3.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return nil, Object{}, s3Error(bucket, "read "+key, err)
	}
	o := Object{key, aws.ToInt64(head.ContentLength), aws.ToTime(head.LastModified), aws.ToString(head.ETag), aws.ToString(head.CacheControl)}
	return &s3Reader{ctx: ctx, s3: p.s3, bucket: bucket, object: o}, o, nil
}

func (p *Place) listS3(ctx context.Context, bucket, prefix string) (all []Object, err error) {
	pages := s3.NewListObjectsV2Paginator(p.s3, &s3.ListObjectsV2Input{Bucket: &bucket, Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, s3Error(bucket, "list "+prefix, err)
		}
		for _, o := range page.Contents {
			all = append(all, Object{Key: aws.ToString(o.Key), Size: aws.ToInt64(o.Size), Modified: aws.ToTime(o.LastModified)})
		}
	}
	return all, nil
}

// replaced reports whether an object may be written again: playlists, JSON and
// thumbnails, but no media.
func replaced(key string) bool {
	switch path.Ext(key) {
	case ".m3u8", ".json", ".jpg":
		return true
	}
	return false
}

// An s3Reader reads an object from where it has been moved to, with one request
// from there to the end.
type s3Reader struct {
	ctx    context.Context // of the call that opened it
	s3     *s3.Client
	bucket string
	object Object
	offset int64
	body   io.ReadCloser // nil if there is no request
	at     int64         // where the next byte of body is in the object
}

// Read fills b from the object.
func (r *s3Reader) Read(b []byte) (int, error) {
	if r.offset >= r.object.Size {
		return 0, io.EOF
	}
	if r.at != r.offset {
		_ = r.Close() // of what is not read any more
	}
	if r.body == nil {
		out, err := r.s3.GetObject(r.ctx, &s3.GetObjectInput{Bucket: &r.bucket, Key: &r.object.Key, IfMatch: r.match(), Range: aws.String(fmt.Sprintf("bytes=%d-", r.offset))})
		if err != nil {
			return 0, s3Error(r.bucket, "read "+r.object.Key, err)
		}
		r.body, r.at = out.Body, r.offset
	}
	n, err := r.body.Read(b)
	r.offset += int64(n)
	r.at = r.offset
	return n, err
}

// Seek moves to an offset in the object.
func (r *s3Reader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.offset
	case io.SeekEnd:
		offset += r.object.Size
	}
	if offset < 0 {
		return 0, fmt.Errorf("seek to %d in %s", offset, r.object.Key)
	}
	r.offset = offset
	return offset, nil
}

// match is the condition of a further request: an object that has been replaced is
// another one.
func (r *s3Reader) match() *string {
	if !replaced(r.object.Key) || r.object.ETag == "" {
		return nil
	}
	return &r.object.ETag
}

// Close ends the request.
func (r *s3Reader) Close() error {
	if r.body == nil {
		return nil
	}
	body := r.body
	r.body = nil
	return body.Close()
}
