// Package buckettest gives tests a real S3 server, versitygw.
package buckettest

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/millrace/millrace/internal/wiretest"
)

// Setenv makes s3:// refer to the server, with that user's credentials.
func Setenv(t testing.TB, endpoint, user, secret string) {
	for k, v := range map[string]string{"AWS_ENDPOINT_URL_S3": endpoint, "AWS_ACCESS_KEY_ID": user, "AWS_SECRET_ACCESS_KEY": secret,
		"AWS_REGION": "us-east-1", "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull} {
		t.Setenv(k, v)
	}
}

// Start builds versitygw from its module in a folder, and runs it with a user until the
// end of the test. The returned client is root's.
func Start(t testing.TB, module, user, secret string) (endpoint string, root *s3.Client) {
	dir := t.TempDir()
	program := filepath.Join(dir, "versitygw")
	build := exec.Command("go", "build", "-trimpath", "-o", program, "github.com/versity/versitygw/cmd/versitygw")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	build.Dir = module // a module of its own: what it needs is nothing to Millrace
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
	address := wiretest.FreeAddress(t)
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
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
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
