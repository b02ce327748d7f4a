//go:build versitygw

package record_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/millrace/millrace/internal/bucket/buckettest"
	"github.com/millrace/millrace/internal/ivs"
)

// What is recorded into a real S3 server is whole; when it denies writing later,
// the recording fails with the operation and the bucket.
func TestVersityGW(t *testing.T) {
	const user, secret = "recorder", "recorders-secret"
	endpoint, root := buckettest.Start(t, "../bucket/testdata/versitygw", user, secret)
	allow := func(object string) {
		t.Helper()
		policy := `{"Statement":[{"Effect":"Allow","Principal":{"AWS":["` + user + `"]},"Action":["s3:ListBucket"],"Resource":["arn:aws:s3:::` + bucketName + `"]},` +
			`{"Effect":"Allow","Principal":{"AWS":["` + user + `"]},"Action":[` + object + `],"Resource":["arn:aws:s3:::` + bucketName + `/*"]}]}`
		if _, err := root.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: aws.String(bucketName), Policy: &policy}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := root.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(bucketName)}); err != nil {
		t.Fatal(err)
	}
	allow(`"s3:PutObject","s3:GetObject"`)
	buckettest.Setenv(t, endpoint, user, secret)
	place = "s3://"
	defer func() { place = "" }()
	for _, container := range []string{ivs.ContainerTS, ivs.ContainerFMP4} {
		w := newWorld(t, container, nil)
		n := 0
		b := w.goLive(testIngest)
		b.write(numbered(t, 36, &n))
		b.leave()
		w.whole(w.ended(), "90p30", 0, n)
		w.stop()
	}

	w := newWorld(t, ivs.ContainerTS, nil)
	n := 0
	b := w.goLive(testIngest)
	frames := numbered(t, 36, &n)
	b.write(frames[:len(frames)/2])
	w.wait("the start", func() bool { return len(w.events(b.id)) == 1 })
	allow(`"s3:GetObject"`)
	b.write(frames[len(frames)/2:])
	r := w.ended()
	if got, want := w.events(b.id), []string{ivs.RecordingStart, ivs.RecordingEndFailure}; !slices.Equal(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}
	if !strings.Contains(r.Failure, "write "+r.Prefix) || !strings.Contains(r.Failure, "bucket "+bucketName) || strings.Contains(r.Failure, secret) {
		t.Errorf("the failure is %q", r.Failure)
	}
	b.leave()
}
