package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/api"
)

// apiFlags are how commands find the API of a running server: by the same
// --data, addresses and credentials.
type apiFlags struct {
	storage
	HTTP      string `name:"http" default:"127.0.0.1:8080" placeholder:"HOST:PORT" help:"Where the server listens, or off (${default})."`
	HTTPS     string `name:"https" default:"off" placeholder:"HOST:PORT" help:"Where it listens with TLS (${default})."`
	PublicURL string `name:"public-url" placeholder:"URL" help:"The address of the API. Default: http:// and --http, or https:// and --https."`
}

// defaultHTTP is the default of --http.
const defaultHTTP = "127.0.0.1:8080"

// endpoint returns the URL of the API, without a slash at its end: that of the flags, or
// that of the server that uses the data folder.
func (f apiFlags) endpoint() string {
	if f.PublicURL != "" {
		return strings.TrimSuffix(f.PublicURL, "/")
	}
	return f.local()
}

// local is the URL of the API of the server on this machine.
func (f apiFlags) local() string {
	if reachable(f.HTTP) == defaultHTTP && f.HTTPS == off { // as by default, and in the container image
		if announced := announcedAPI(f.Data); announced != "" {
			return announced
		}
	}
	return networkFlags{HTTP: f.HTTP, HTTPS: f.HTTPS}.apiURL()
}

// envCommand prints the environment for AWS tools, and a link to the console if the server
// runs.
type envCommand struct{ apiFlags }

func (c *envCommand) Run(ctx context.Context) error {
	key, err := readCredentials(c.storage)
	if err != nil {
		return err
	}
	endpoint := c.endpoint()
	for _, v := range [][2]string{
		{"AWS_ENDPOINT_URL_IVS", endpoint},
		{"AWS_ENDPOINT_URL_STS", endpoint},
		{"AWS_ACCESS_KEY_ID", key.AccessKeyID},
		{"AWS_SECRET_ACCESS_KEY", key.SecretAccessKey},
		{"AWS_REGION", c.Region},
		{"AWS_DEFAULT_REGION", c.Region}, // boto3 and version 1 of the CLI read only this one
	} {
		fmt.Printf("export %s=%s\n", v[0], shellQuote(v[1]))
	}
	fmt.Println("unset AWS_SESSION_TOKEN AWS_PROFILE") // they would override the key above
	trust, err := c.trust(false)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: trust, ForceAttemptHTTP2: true}}
	token, err := requestSignIn(ctx, client, endpoint, c.Region, key)
	if err != nil { // the variables are right for a server that is started later
		fmt.Fprintf(os.Stderr, "millrace: no link to the console, as %s does not answer (--public-url names another address): %v\n", endpoint, err)
		return nil
	}
	fmt.Printf("# Console, signed in (the link works once, within %d minutes): %s\n", api.SignInLifetime/time.Minute, consoleLink(endpoint, token, ""))
	return nil
}

// shellQuote makes s one word for a POSIX shell.
func shellQuote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-./:@%+=,", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
