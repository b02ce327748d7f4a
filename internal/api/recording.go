package api

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
)

type createRecordingConfigurationInput struct {
	Name        *string `json:"name"`
	Destination *struct {
		S3 *struct {
			BucketName *string `json:"bucketName"`
		} `json:"s3"`
	} `json:"destinationConfiguration"`
	Tags       map[string]string `json:"tags"`
	Thumbnails struct {
		RecordingMode         *string  `json:"recordingMode"`
		TargetIntervalSeconds *int     `json:"targetIntervalSeconds"`
		Resolution            *string  `json:"resolution"`
		Storage               []string `json:"storage"`
	} `json:"thumbnailConfiguration"`
	ReconnectWindowSeconds *int `json:"recordingReconnectWindowSeconds"`
	Renditions             struct {
		Selection  *string  `json:"renditionSelection"`
		Renditions []string `json:"renditions"`
	} `json:"renditionConfiguration"`
}

var resolutions = []string{ivs.ResolutionSD, ivs.ResolutionHD, ivs.ResolutionFullHD, ivs.ResolutionLowest}

func (in *createRecordingConfigurationInput) check(c *checker) {
	c.name("name", in.Name)
	in.checkBucket(c)
	c.tags(in.Tags)
	t := &in.Thumbnails
	c.oneOf("thumbnailConfiguration.recordingMode", t.RecordingMode, ivs.ThumbnailsDisabled, ivs.ThumbnailsInterval)
	c.within("thumbnailConfiguration.targetIntervalSeconds", t.TargetIntervalSeconds, 1, 60)
	c.oneOf("thumbnailConfiguration.resolution", t.Resolution, resolutions...)
	c.eachOneOf("thumbnailConfiguration.storage", t.Storage, ivs.ThumbnailsSequential, ivs.ThumbnailsLatest)
	if t.RecordingMode != nil && *t.RecordingMode == ivs.ThumbnailsDisabled && t.TargetIntervalSeconds != nil {
		c.fail("thumbnailConfiguration.targetIntervalSeconds applies only to the recordingMode INTERVAL")
	}
	c.within("recordingReconnectWindowSeconds", in.ReconnectWindowSeconds, 0, 300)
	c.oneOf("renditionConfiguration.renditionSelection", in.Renditions.Selection, ivs.RenditionsAll, ivs.RenditionsNone, ivs.RenditionsCustom)
	c.eachOneOf("renditionConfiguration.renditions", in.Renditions.Renditions, resolutions...)
	if in.custom() && len(in.Renditions.Renditions) == 0 {
		c.fail("renditionConfiguration.renditions is required for the renditionSelection CUSTOM")
	}
}

func (in *createRecordingConfigurationInput) checkBucket(c *checker) {
	switch d := in.Destination; {
	case d == nil:
		c.missing("destinationConfiguration")
	case d.S3 == nil:
		c.missing("destinationConfiguration.s3")
	case d.S3.BucketName == nil:
		c.missing("destinationConfiguration.s3.bucketName")
	case !isBucketName(*d.S3.BucketName):
		c.fail("destinationConfiguration.s3.bucketName must be 3 to 63 characters of a-z, 0-9, - and ., and begin and end with a letter or digit")
	}
}

// isBucketName also keeps to S3's own rule for the first and last character, so
// that a bucket is never a path.
func isBucketName(s string) bool {
	if len(s) < 3 || len(s) > 63 || strings.Contains(s, "..") {
		return false
	}
	inner := strings.Trim(s, "-.")
	return inner == s && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-.") == ""
}

func (in *createRecordingConfigurationInput) custom() bool {
	return in.Renditions.Selection != nil && *in.Renditions.Selection == ivs.RenditionsCustom
}

// configuration returns the requested configuration, with defaults filled in.
func (in *createRecordingConfigurationInput) configuration(scope store.Scope) ivs.RecordingConfiguration {
	c := ivs.RecordingConfiguration{ARN: newARN(scope, ivs.RecordingConfigurationType), State: ivs.RecordingCreating, Tags: cloneTags(in.Tags)}
	c.DestinationConfiguration.S3.BucketName = *in.Destination.S3.BucketName
	set(&c.Name, in.Name)
	set(&c.ReconnectWindowSeconds, in.ReconnectWindowSeconds)
	t := ivs.ThumbnailConfiguration{RecordingMode: ivs.ThumbnailsInterval, TargetIntervalSeconds: 60, Storage: []string{ivs.ThumbnailsSequential}}
	set(&t.RecordingMode, in.Thumbnails.RecordingMode)
	set(&t.TargetIntervalSeconds, in.Thumbnails.TargetIntervalSeconds)
	set(&t.Resolution, in.Thumbnails.Resolution)
	if len(in.Thumbnails.Storage) > 0 {
		t.Storage = slices.Clone(in.Thumbnails.Storage)
	}
	if t.RecordingMode == ivs.ThumbnailsDisabled {
		t = ivs.ThumbnailConfiguration{RecordingMode: t.RecordingMode}
	}
	c.ThumbnailConfiguration = t
	c.RenditionConfiguration.RenditionSelection = ivs.RenditionsAll
	set(&c.RenditionConfiguration.RenditionSelection, in.Renditions.Selection)
	if in.custom() {
		c.RenditionConfiguration.Renditions = slices.Clone(in.Renditions.Renditions)
	}
	return c
}

type recordingConfigurationOutput struct {
	RecordingConfiguration ivs.RecordingConfiguration `json:"recordingConfiguration"`
}

// createRecordingConfiguration answers before the bucket has been looked at;
// Run does that.
func (s *Server) createRecordingConfiguration(ctx context.Context, scope store.Scope, in *createRecordingConfigurationInput) (*recordingConfigurationOutput, error) {
	c := in.configuration(scope)
	return &recordingConfigurationOutput{c}, s.Store.RecordingConfigurations().Create(ctx, c, s.Quotas.recordingConfigurations(), true)
}

// A BucketOutput is the result of a check of a bucket.
type BucketOutput struct {
	Bucket string `json:"bucket"`
	Usable bool   `json:"usable"`           // recordings can be written to it
	Reason string `json:"reason,omitempty"` // why not
}

// Bucket serves GET /_millrace/buckets/{bucket}: whether recordings can be written to a
// bucket, and if not, why.
//
//   - bucket: Name of a bucket.
//
// (The state CREATE_FAILED has no reason.)
func (s *Server) Bucket(w http.ResponseWriter, r *http.Request, scope store.Scope) error {
	name := r.PathValue("bucket")
	if !isBucketName(name) {
		return ivs.Errorf(ivs.Validation, "%.100q is not a bucket name: use 3 to 63 characters of a-z, 0-9, - and ., beginning and ending with a letter or digit", name)
	}
	out := BucketOutput{Bucket: name}
	err := s.checkBucket(r.Context(), scope.Account, name)
	if out.Usable = err == nil; err != nil {
		out.Reason = err.Error()
	}
	Reply(w, out)
	return nil
}

// recordingConfigurationInput is the request of operations on one of them.
type recordingConfigurationInput struct {
	ARN string `json:"arn"`
}

func (in *recordingConfigurationInput) check(c *checker) {
	c.arn("arn", in.ARN, ivs.RecordingConfigurationType)
}

func (s *Server) getRecordingConfiguration(ctx context.Context, _ store.Scope, in *recordingConfigurationInput) (*recordingConfigurationOutput, error) {
	c, err := s.Store.RecordingConfigurations().Get(ctx, in.ARN)
	return &recordingConfigurationOutput{c}, err
}

func (s *Server) deleteRecordingConfiguration(ctx context.Context, _ store.Scope, in *recordingConfigurationInput) (noContent, error) {
	return noContent{}, s.Store.RecordingConfigurations().Delete(ctx, in.ARN)
}

type listRecordingConfigurationsOutput struct {
	RecordingConfigurations []ivs.RecordingConfigurationSummary `json:"recordingConfigurations"`
	NextToken               string                              `json:"nextToken,omitempty"`
}

func (s *Server) listRecordingConfigurations(ctx context.Context, scope store.Scope, in *listInput) (*listRecordingConfigurationsOutput, error) {
	list, next, err := s.Store.RecordingConfigurations().List(ctx, scope, in.page(min(s.Quotas.recordingConfigurations(), 100)))
	return &listRecordingConfigurationsOutput{summaries(list, ivs.RecordingConfiguration.Summary), next}, err
}
