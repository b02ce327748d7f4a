//go:build versitygw

package record_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/millrace/millrace/internal/bucket/buckettest"
	"github.com/millrace/millrace/internal/ivs"
)

// What is recorded into a real S3 server is whole, and others can read it; when
// it denies writing later, the recording fails with the operation and the bucket;
// when it is away for a minute, nothing is lost. What is true of folders when streams
// end together, are taken over or merged, and nodes are killed, is so there too.
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

	// Meanwhile a bucket is unreachable for a minute.
	g := newGate(t, strings.TrimPrefix(endpoint, "http://"))
	t.Setenv("AWS_ENDPOINT_URL_S3", "http://"+g.address)
	away, awayFrames := newWorld(t, ivs.ContainerTS, nil), 0
	awayStream := away.goLive(testIngest)
	awayVideo := numbered(t, 48, &awayFrames)
	awayStream.write(awayVideo[:len(awayVideo)/3])
	away.wait("the start", func() bool { return len(away.events(awayStream.id)) == 1 })
	g.setShut(true)
	shut := time.Now()
	awayStream.write(awayVideo[len(awayVideo)/3:])
	awayStream.leave()
	away.wait("segments that wait in the spool", func() bool { s := away.recorder.Stats(); return s.SpoolBytes > 0 && s.Lag > 0 })
	t.Setenv("AWS_ENDPOINT_URL_S3", endpoint)

	for _, container := range []string{ivs.ContainerTS, ivs.ContainerFMP4} {
		w := newWorld(t, container, nil)
		n := 0
		b := w.goLive(testIngest)
		b.write(numbered(t, 36, &n))
		b.leave()
		r := w.ended()
		w.whole(r, "90p30", 0, n)
		w.readElsewhere(r, n)
		w.stop()
	}

	t.Run("many end at once", TestManyEndAtOnce)
	t.Run("takeover", TestTakeover)
	t.Run("merge", TestMerge)
	t.Run("merge across nodes", TestMergeAcrossNodes)
	t.Run("kill", TestKill)

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

	allow(`"s3:PutObject","s3:GetObject"`)
	time.Sleep(time.Until(shut.Add(time.Minute)))
	if all := away.recordings(); len(all) != 1 || !all[0].EndedAt.IsZero() {
		t.Errorf("after a minute without its bucket: %+v", all)
	}
	g.setShut(false)
	away.whole(away.ended(), "90p30", 0, awayFrames)
	if got, want := away.events(awayStream.id), []string{ivs.RecordingStart, ivs.RecordingEnd}; !slices.Equal(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}
}
