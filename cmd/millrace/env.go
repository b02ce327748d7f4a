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

// apiFlags tell commands where the API of a running server is: the same --data, addresses
// and credentials as those of serve.
type apiFlags struct {
	storage
	HTTP      string `name:"http" default:"127.0.0.1:8080" placeholder:"HOST:PORT" help:"Where the server listens, or off (${default})."`
	HTTPS     string `name:"https" default:"off" placeholder:"HOST:PORT" help:"Where it listens with TLS (${default})."`
	PublicURL string `name:"public-url" placeholder:"URL" help:"The address of the API. Default: http:// and --http, or https:// and --https."`
}

// defaultHTTP is the default of --http.
const defaultHTTP = "127.0.0.1:8080"

// addresses returns the URLs of the API, without a slash at their ends: the one for calls
// of this command, and the one that clients elsewhere use.
func (f apiFlags) addresses() (calls, public string) {
	if f.PublicURL != "" {
		public = strings.TrimSuffix(f.PublicURL, "/")
		return public, public
	}
	local, public := f.serving()
	if strings.HasPrefix(local, "https:") { // its certificate is for the public name
		return public, public
	}
	return local, public
}

// serving returns where the server on this machine has its API, and its public URL.
func (f apiFlags) serving() (local, public string) {
	if reachable(f.HTTP) == defaultHTTP && f.HTTPS == off { // as by default, and in the container image
		if local, public = announcedAPI(f.Data); local != "" {
			return local, public
		}
	}
	local = networkFlags{HTTP: f.HTTP, HTTPS: f.HTTPS}.apiURL()
	return local, local
}

// envCommand prints the environment for AWS tools, and a link to the console if the server
// runs.
type envCommand struct{ apiFlags }

func (c *envCommand) Run(ctx context.Context) error {
	key, err := readCredentials(c.storage)
	if err != nil {
		return err
	}
	calls, public := c.addresses()
	for _, v := range [][2]string{
		{"AWS_ENDPOINT_URL_IVS", public},
		{"AWS_ENDPOINT_URL_STS", public},
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
	token, err := requestSignIn(ctx, client, calls, c.Region, key)
	if err != nil { // the variables are right for a server that is started later
		fmt.Fprintf(os.Stderr, "millrace: no link to the console, as %s does not answer (--public-url names another address): %v\n", calls, err)
		return nil
	}
	fmt.Printf("# Console, signed in (the link works once, within %d minutes): %s\n", api.SignInLifetime/time.Minute, consoleLink(public, token, ""))
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
