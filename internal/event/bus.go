package event

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"

	"github.com/millrace/millrace/internal/ivs"
)

// defaultSource is the source of events on a bus: AWS reserves "aws.ivs" for itself.
const defaultSource = "millrace.ivs"

// A bus puts events on an EventBridge bus, or a server with the same API.
type bus struct {
	name   string
	source string
	client *eventbridge.Client
}

// newBus reads eventbridge:BUS?region=…&endpoint=…&source=…. Credentials are
// found as every AWS SDK finds them.
func newBus(ctx context.Context, u *url.URL, region string) (*bus, error) {
	name, err := url.PathUnescape(cmp.Or(u.Opaque, strings.TrimPrefix(u.Host+u.Path, "/")))
	if err != nil || name == "" {
		return nil, errors.New("the name of a bus is missing: eventbridge:BUS")
	}
	q := u.Query()
	cfg, err := config.LoadDefaultConfig(ctx,
		config.WithRegion(cmp.Or(q.Get("region"), region)),
		config.WithHTTPClient(awshttp.NewBuildableClient().WithTimeout(callTime)),
		config.WithRetryMaxAttempts(1)) // the dispatcher retries
	if err != nil {
		return nil, fmt.Errorf("configuration of the AWS SDK: %w", err)
	}
	return &bus{name: name, source: cmp.Or(q.Get("source"), defaultSource), client: eventbridge.NewFromConfig(cfg, func(o *eventbridge.Options) {
		if endpoint := q.Get("endpoint"); endpoint != "" {
			o.BaseEndpoint = aws.String(endpoint)
		}
	})}, nil
}

// Send puts at most ten events on the bus. AWS may accept an event after one that it
// rejects; both will be sent again.
func (b *bus) Send(ctx context.Context, events []ivs.Event) (sent int, err error) {
	entries := make([]types.PutEventsRequestEntry, len(events))
	for i, e := range events {
		detail, err := e.Detail()
		if err != nil {
			return 0, fmt.Errorf("%w: %w", errRefused, err)
		}
		entries[i] = types.PutEventsRequestEntry{
			EventBusName: &b.name, Source: &b.source, DetailType: aws.String(e.Type),
			Detail: aws.String(string(detail)), Resources: e.Resources(), Time: aws.Time(e.Time),
		}
	}
	out, err := b.client.PutEvents(ctx, &eventbridge.PutEventsInput{Entries: entries})
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errUnreachable, err)
	}
	if out.FailedEntryCount == 0 {
		return len(events), nil
	}
	for i, entry := range out.Entries {
		if code := aws.ToString(entry.ErrorCode); code != "" {
			return i, entryError(code, aws.ToString(entry.ErrorMessage))
		}
	}
	return 0, errors.New("the bus says that events failed, and not which")
}

// entryError returns the error of an event that the bus has not accepted, by the error
// codes of PutEventsResultEntry.
func entryError(code, message string) error {
	switch code {
	case "ThrottlingException", "InternalFailure", "InternalException":
		return fmt.Errorf("%w: %s: %s", errUnreachable, code, message)
	}
	return fmt.Errorf("%w: %s: %s", errRefused, code, message)
}

// Flush does nothing: what the bus has accepted is durable.
func (b *bus) Flush() error { return nil }
