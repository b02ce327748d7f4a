//go:build versitygw

package bucket_test

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/millrace/millrace/internal/bucket"
)

// An S3 server that somebody else has made, with a user who may write into one
// of its buckets, only look into another, and not see a third. Building it
// takes a minute or two, in which other tests should not have to wait for the
// processor: so this one asks for a tag, and make test runs it by itself.
// go test -tags versitygw ./internal/bucket
func TestVersityGW(t *testing.T) {
	const user, secret = "recorder", "recorders-secret"
	endpoint, root := startVersityGW(t, user, secret)
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
	for k, v := range map[string]string{"AWS_ENDPOINT_URL_S3": endpoint, "AWS_ACCESS_KEY_ID": user, "AWS_SECRET_ACCESS_KEY": secret,
		"AWS_REGION": "us-east-1", "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull} {
		t.Setenv(k, v)
	}
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
}

// startVersityGW runs the server with that user until the end of the test. The
// client is root's.
func startVersityGW(t *testing.T, user, secret string) (endpoint string, root *s3.Client) {
	dir := t.TempDir()
	program := filepath.Join(dir, "versitygw")
	build := exec.Command("go", "build", "-o", program, "github.com/versity/versitygw/cmd/versitygw")
	build.Dir = "testdata/versitygw" // a module of its own: what it needs is nothing to Millrace
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building versitygw: %v\n%s", err, out)
	}
	users, err := json.Marshal(map[string]any{"accessAccounts": map[string]any{user: map[string]string{"access": user, "secret": secret, "role": "user"}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{"iam", "data", "meta"} {
		if err := os.Mkdir(filepath.Join(dir, folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "iam", "users.json"), users, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close() // it listens where it is told, and takes no listener
	server := exec.Command(program, "--port", address, "--access", "root", "--secret", "roots-secret", "--iam-dir", filepath.Join(dir, "iam"), "--quiet",
		"posix", "--sidecar", filepath.Join(dir, "meta"), filepath.Join(dir, "data"))
	server.Stdout, server.Stderr = t.Output(), t.Output()
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		server.Process.Kill()
		server.Wait()
	})
	endpoint = "http://" + address
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint, nil)
		if err != nil {
			t.Fatal(err)
		}
		if res, err := http.DefaultClient.Do(r); err == nil {
			res.Body.Close()
			break
		} else if ctx.Err() != nil {
			t.Fatalf("versitygw does not answer: %v", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return endpoint, s3.New(s3.Options{Region: "us-east-1", BaseEndpoint: &endpoint, UsePathStyle: true,
		Credentials: aws.NewCredentialsCache(credentials.NewStaticCredentialsProvider("root", "roots-secret", ""))})
}
