package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/millrace/millrace/internal/api"
)

// consoleLink returns a link to the console, signed in with a token; channelARN may be "".
func consoleLink(endpoint, token, channelARN string) string {
	link := endpoint + "/console/#sign-in=" + token
	if channelARN != "" {
		link += "&channel=" + url.QueryEscape(channelARN)
	}
	return link
}

// requestSignIn requests a sign-in token from a running server.
func requestSignIn(ctx context.Context, client *http.Client, endpoint, region string, key api.AccessKey) (token string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint+"/_millrace/sign-in-tokens", http.NoBody)
	if err != nil {
		return "", err
	}
	nothing := sha256.Sum256(nil)
	credentials := aws.Credentials{AccessKeyID: key.AccessKeyID, SecretAccessKey: key.SecretAccessKey}
	if err := v4.NewSigner().SignHTTP(ctx, credentials, r, hex.EncodeToString(nothing[:]), "ivs", region, time.Now()); err != nil {
		return "", err
	}
	answer, err := client.Do(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return "", fmt.Errorf("the server answers %s", answer.Status)
	}
	var out struct{ Token string }
	if err := json.NewDecoder(answer.Body).Decode(&out); err != nil {
		return "", err
	}
	if out.Token == "" {
		return "", errors.New("the server answers without a token")
	}
	return out.Token, nil
}
