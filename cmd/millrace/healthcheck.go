package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"time"
)

// healthcheckCommand is for container images, which have no other client of HTTP.
type healthcheckCommand struct{ apiFlags }

// Run requests /healthz of the server on this machine. Its certificate is not verified,
// because it may be for another name.
func (c *healthcheckCommand) Run(ctx context.Context) error {
	local, _ := c.serving()
	client := &http.Client{Timeout: 4 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, local+"/healthz", http.NoBody)
	if err != nil {
		return err
	}
	answer, err := client.Do(r)
	if err != nil {
		return fmt.Errorf("no server answers: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<10)) // the status says it
		return fmt.Errorf("%s answers %s: %s", r.URL, answer.Status, text)
	}
	return nil
}
