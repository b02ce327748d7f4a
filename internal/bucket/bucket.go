// Package bucket stores recordings: in folders of this machine, or in Amazon S3 and
// services with its protocol.
package bucket

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"
)

// A Place gives access to buckets by name.
type Place struct {
	folder string              // each bucket is a folder in it; "" for S3
	s3     *s3.Client          // nil for a folder
	put    []func(*s3.Options) // of each PutObject
	faults faults
}

// Open returns the Place at a folder's path or at s3://. For S3, credentials, region and
// endpoint come from the environment, as in AWS SDKs (with AWS_ENDPOINT_URL_S3 or
// AWS_ENDPOINT_URL set, for other services, addresses are path-style); region is used if
// the environment has none.
func Open(ctx context.Context, place, region string) (*Place, error) {
	scheme, rest, isURL := strings.Cut(place, "://")
	if !isURL {
		return &Place{folder: place}, nil
	}
	if scheme != "s3" || rest != "" {
		return nil, fmt.Errorf("%s cannot hold buckets: it must be a folder or s3://", place)
	}
	// Uploads that end together must find their connections again when the next ones begin.
	transport := awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) { t.MaxIdleConnsPerHost = t.MaxIdleConns })
	cfg, err := config.LoadDefaultConfig(ctx, config.WithDefaultRegion(region), config.WithHTTPClient(transport))
	if err != nil {
		return nil, fmt.Errorf("the settings of s3://: %w", err)
	}
	p := &Place{}
	endpoint := cmp.Or(os.Getenv("AWS_ENDPOINT_URL_S3"), os.Getenv("AWS_ENDPOINT_URL"))
	if endpoint != "" && !saysChecksums(cfg) { // not every make takes one, and each reads all media once more
		cfg.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
	}
	if cfg.RequestChecksumCalculation == aws.RequestChecksumCalculationWhenRequired && !strings.HasPrefix(endpoint, "http:") {
		// TLS protects the body, which need not be hashed for the signature too.
		p.put = append(p.put, s3.WithAPIOptions(v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware))
	}
	p.s3 = s3.NewFromConfig(cfg, func(o *s3.Options) {
		o.UsePathStyle = endpoint != ""
		o.Logger = logging.Nop{}                                                  // it would write to standard error, past the server's log
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired // parts of objects have none
	})
	return p, nil
}

// saysChecksums reports whether the environment or the shared configuration says when
// requests have a checksum. Where neither does, the SDK has set its own default.
func saysChecksums(cfg aws.Config) bool {
	return slices.ContainsFunc(cfg.ConfigSources, func(source any) bool {
		switch s := source.(type) {
		case config.EnvConfig:
			return s.RequestChecksumCalculation != 0
		case config.SharedConfig:
			return s.RequestChecksumCalculation != 0
		}
		return false
	})
}

// checkObject is written into a bucket to see whether it can be, and deleted.
const checkObject = "millrace-write-check"

// Check reports why the bucket cannot be written to. A missing bucket is created in a
// folder; in S3 it must exist. name has no slash and does not begin with a dot.
func (p *Place) Check(ctx context.Context, name string) error {
	if p.s3 != nil {
		return p.checkS3(ctx, name)
	}
	dir := filepath.Join(p.folder, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("create bucket %s: %w", name, err)
	}
	f, err := os.CreateTemp(dir, checkObject)
	if err != nil {
		return fmt.Errorf("write to bucket %s: %w", name, err)
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

func (p *Place) checkS3(ctx context.Context, name string) error {
	if _, err := p.s3.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &name}); err != nil {
		return fmt.Errorf("find bucket %s: %w", name, err)
	}
	key := aws.String(checkObject)
	if _, err := p.s3.PutObject(ctx, &s3.PutObjectInput{Bucket: &name, Key: key, Body: strings.NewReader("")}, p.put...); err != nil {
		return fmt.Errorf("write to bucket %s: %w", name, err)
	}
	// Recordings need no right to delete, so that this may fail.
	_, _ = p.s3.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &name, Key: key})
	return nil
}
