//go:build versitygw

package bucket_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/millrace/millrace/internal/bucket"
	"github.com/millrace/millrace/internal/bucket/buckettest"
)

// An S3 server that is not ours, with a user who may write into one of its buckets,
// may only read another, and has no access to a third. Building it takes a minute or
// two of all processors: so this test has a build tag, which make test sets.
// go test -tags versitygw ./internal/bucket
func TestVersityGW(t *testing.T) {
	const user, secret = "recorder", "recorders-secret"
	endpoint, root := buckettest.Start(t, "testdata/versitygw", user, secret)
	ctx := t.Context()
	for name, actions := range map[string]string{"good": `"s3:ListBucket","s3:PutObject","s3:GetObject"`, "readonly": `"s3:ListBucket"`, "hidden": ""} {
		if _, err := root.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &name}); err != nil {
			t.Fatal(err)
		}
		if actions == "" {
			continue
		}
		policy := `{"Statement":[{"Effect":"Allow","Principal":{"AWS":["` + user + `"]},"Action":[` + actions + `],"Resource":["arn:aws:s3:::` + name + `","arn:aws:s3:::` + name + `/*"]}]}`
		if !strings.Contains(actions, "Put") {
			policy = strings.Replace(policy, `,"arn:aws:s3:::`+name+`/*"`, "", 1)
		}
		if _, err := root.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: &name, Policy: &policy}); err != nil {
			t.Fatalf("policy of %s: %v", name, err)
		}
	}
	buckettest.Setenv(t, endpoint, user, secret)
	p, err := bucket.Open(ctx, "s3://", "us-west-2")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"good": "", "absent": "find bucket absent", "hidden": "find bucket hidden", "readonly": "write to bucket readonly"} {
		err := p.Check(ctx, name)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("Check(%s) = %v, want %q", name, err, want)
		}
	}
	testObjects(t, p, "good")
	for _, name := range []string{"absent", "readonly"} {
		if err := p.Put(ctx, name, "a/b", bucket.Final, strings.NewReader("x")); !bucket.Refused(err) {
			t.Errorf("writing to the bucket %s: %v", name, err)
		}
	}
	head, err := root.HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String("good"), Key: aws.String("a/media/0.ts")})
	if err != nil || aws.ToString(head.ContentType) != "video/mp2t" || aws.ToString(head.CacheControl) != bucket.Immutable {
		t.Errorf("headers of media: %+v, %v", head, err)
	}
	f, o, err := p.Get(ctx, "good", "a/media/0.ts")
	if err != nil || o.Cache != bucket.Immutable {
		t.Fatalf("media is read as %+v, %v", o, err)
	}
	f.Close()
}
