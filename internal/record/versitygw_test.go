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
// when it is unreachable for a minute, nothing is lost. What is true of folders when streams
// end together, are taken over or merged, and nodes are killed, is so there too.
func TestVersityGW(t *testing.T) {
	g := startGateway(t)
	checkAway := g.shutForAMinute(t) // meanwhile
	t.Run("whole", g.testWhole)
	t.Run("many end at once", TestManyEndAtOnce)
	t.Run("takeover", TestTakeover)
	t.Run("merge", TestMerge)
	t.Run("merge across nodes", TestMergeAcrossNodes)
	t.Run("kill", TestKill)
	t.Run("denied", g.testDenied)
	checkAway()
}

// A gateway is an S3 server with the bucket of the tests, and a user who may use it.
type gateway struct {
	endpoint, user, secret string
	root                   *s3.Client
}

// startGateway starts the server and has all worlds record into it until the test ends.
func startGateway(t *testing.T) *gateway {
	t.Helper()
	g := &gateway{user: "recorder", secret: "recorders-secret"}
	g.endpoint, g.root = buckettest.Start(t, "../bucket/testdata/versitygw", g.user, g.secret)
	if _, err := g.root.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(bucketName)}); err != nil {
		t.Fatal(err)
	}
	g.allow(t, `"s3:PutObject","s3:GetObject"`)
	buckettest.Setenv(t, g.endpoint, g.user, g.secret)
	place = "s3://"
	t.Cleanup(func() { place = "" })
	return g
}

// allow sets what the user may do with objects: actions in JSON, commas between them.
func (g *gateway) allow(t *testing.T, actions string) {
	t.Helper()
	policy := `{"Statement":[{"Effect":"Allow","Principal":{"AWS":["` + g.user + `"]},"Action":["s3:ListBucket"],"Resource":["arn:aws:s3:::` + bucketName + `"]},` +
		`{"Effect":"Allow","Principal":{"AWS":["` + g.user + `"]},"Action":[` + actions + `],"Resource":["arn:aws:s3:::` + bucketName + `/*"]}]}`
	if _, err := g.root.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: aws.String(bucketName), Policy: &policy}); err != nil {
		t.Fatal(err)
	}
}

// shutForAMinute records a stream and shuts the server out from its recorder. check
// waits until a minute is over, opens it, and expects that nothing is lost.
func (g *gateway) shutForAMinute(t *testing.T) (check func()) {
	t.Helper()
	between := newGate(t, strings.TrimPrefix(g.endpoint, "http://"))
	t.Setenv("AWS_ENDPOINT_URL_S3", "http://"+between.address)
	w, frames := newWorld(t, ivs.ContainerTS, nil), 0
	t.Setenv("AWS_ENDPOINT_URL_S3", g.endpoint)
	b := w.goLive(testIngest)
	video := numbered(t, 48, &frames)
	b.write(video[:len(video)/3])
	w.wait("the start", func() bool { return len(w.events(b.id)) == 1 })
	between.setShut(true)
	shut := time.Now()
	b.write(video[len(video)/3:])
	b.leave()
	w.wait("segments that wait in the spool", func() bool { s := w.recorder.Stats(); return s.SpoolBytes > 0 && s.Lag > 0 })
	return func() {
		t.Helper()
		time.Sleep(time.Until(shut.Add(time.Minute)))
		if all := w.recordings(); len(all) != 1 || !all[0].EndedAt.IsZero() {
			t.Errorf("after a minute without its bucket: %+v", all)
		}
		between.setShut(false)
		w.whole(w.ended(), "90p30", 0, frames)
		if got, want := w.events(b.id), []string{ivs.RecordingStart, ivs.RecordingEnd}; !slices.Equal(got, want) {
			t.Errorf("events %q, want %q", got, want)
		}
	}
}

func (g *gateway) testWhole(t *testing.T) {
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
}

// testDenied revokes the right to write in the middle of a stream.
func (g *gateway) testDenied(t *testing.T) {
	w := newWorld(t, ivs.ContainerTS, nil)
	n := 0
	b := w.goLive(testIngest)
	frames := numbered(t, 36, &n)
	b.write(frames[:len(frames)/2])
	w.wait("the start", func() bool { return len(w.events(b.id)) == 1 })
	g.allow(t, `"s3:GetObject"`)
	b.write(frames[len(frames)/2:])
	r := w.ended()
	if got, want := w.events(b.id), []string{ivs.RecordingStart, ivs.RecordingEndFailure}; !slices.Equal(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}
	if !strings.Contains(r.Failure, "write "+r.Prefix) || !strings.Contains(r.Failure, "bucket "+bucketName) || strings.Contains(r.Failure, g.secret) {
		t.Errorf("the failure is %q", r.Failure)
	}
	b.leave()
	g.allow(t, `"s3:PutObject","s3:GetObject"`)
}
