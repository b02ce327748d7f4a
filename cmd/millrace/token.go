package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/token"
)

// keygenCommand creates the key pair of playback tokens.
type keygenCommand struct {
	Key string `name:"key" aliases:"out" default:"playback-key.pem" type:"path" placeholder:"FILE" help:"Where to write the private key (${default}). A file that exists is left alone."`
}

func (c *keygenCommand) Run() error {
	private, public, err := token.GenerateKey()
	if err != nil {
		return err
	}
	f, err := os.OpenFile(c.Key, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists already: choose another file with --key", c.Key)
	}
	if err != nil {
		return fmt.Errorf("--key: %w", err)
	}
	_, err = f.Write(private)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("writing the private key: %w", err)
	}
	fmt.Fprintf(os.Stderr, "The private key is in %s; keep it where tokens are signed. The public key, for aws ivs import-playback-key-pair --public-key-material, is:\n", c.Key)
	_, err = os.Stdout.Write(public)
	return err
}

// tokenCommand signs a playback token. With a channel's ARN it needs neither a
// server nor its database.
type tokenCommand struct {
	storage
	Channel    string        `arg:"" help:"The channel's ARN, or its name in the database of --data or --database."`
	Key        string        `name:"key" default:"playback-key.pem" type:"path" placeholder:"FILE" help:"Private key, PEM; millrace keygen makes one (${default})."`
	TTL        time.Duration `name:"ttl" default:"5m" placeholder:"TIME" help:"How long playback can be started with the token; with --viewer-id or --single-use at most 10m (${default})."`
	ViewerID   string        `name:"viewer-id" placeholder:"ID" help:"Names the viewer, at most 40 characters, so that the viewer's sessions can be revoked."`
	Version    int64         `name:"viewer-session-version" placeholder:"N" help:"Version of the viewer's sessions; a revocation ends all sessions up to a version. Needs --viewer-id."`
	Origin     []string      `name:"origin" sep:"," placeholder:"ORIGIN" help:"A web site that may play, such as https://example.com or https://*.example.com. Can be repeated."`
	Strict     bool          `name:"strict-origin" help:"Require an allowed origin for media too, and of players that are not browsers."`
	SingleUse  bool          `name:"single-use" help:"Let the token start playback once."`
	Resolution string        `name:"maximum-resolution" enum:",SD,HD,FULL_HD" default:"" placeholder:"CLASS" help:"Leave out renditions above SD, HD or FULL_HD."`
	URL        bool          `name:"url" help:"Print the playback URL with the token in it."`
	PublicURL  string        `name:"public-url" default:"http://127.0.0.1:8080" placeholder:"URL" help:"Base of the playback URL (${default})."`
}

func (c *tokenCommand) Run(ctx context.Context) error {
	text, err := os.ReadFile(c.Key)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s does not exist: make a key with millrace keygen, or name one with --key", c.Key)
	}
	if err != nil {
		return fmt.Errorf("--key: %w", err)
	}
	key, err := token.ParsePrivateKey(text)
	if err != nil {
		return fmt.Errorf("--key: %s %w", c.Key, err)
	}
	claims, err := c.claims(ctx, time.Now())
	if err != nil {
		return err
	}
	signed, err := claims.Sign(key)
	if err != nil {
		return err
	}
	if c.URL {
		signed = ivs.Endpoints{PublicURL: c.PublicURL}.PlaybackURL(claims.ChannelARN) + "?token=" + signed
	}
	fmt.Println(signed)
	return nil
}

func (c *tokenCommand) claims(ctx context.Context, now time.Time) (token.Claims, error) {
	claims := token.Claims{Expires: now.Add(c.TTL), Origins: c.Origin, StrictOrigin: c.Strict, ViewerID: c.ViewerID,
		ViewerVersion: c.Version, MaximumResolution: c.Resolution}
	if c.TTL < time.Second {
		return claims, fmt.Errorf("--ttl %v: must be at least 1s", c.TTL)
	}
	if c.Version != 0 && c.ViewerID == "" {
		return claims, errors.New("--viewer-session-version needs --viewer-id")
	}
	if c.SingleUse {
		claims.SingleUse = ivs.NewUUID()
	}
	var err error
	if claims.ChannelARN, err = c.channelARN(ctx); err != nil {
		return claims, err
	}
	if err := claims.Check(claims.ChannelARN, now); err != nil {
		return claims, fmt.Errorf("--ttl %v: %w", c.TTL, err)
	}
	return claims, nil
}

// channelARN is the ARN of the channel that the command line names.
func (c *tokenCommand) channelARN(ctx context.Context) (string, error) {
	if a, ok := ivs.ParseARN(c.Channel); ok && a.Type == ivs.ChannelType {
		return c.Channel, nil
	}
	if strings.HasPrefix(c.Channel, "arn:") {
		return "", fmt.Errorf("%q is not the ARN of a channel: arn:aws:ivs:<region>:<account>:channel/<id>", c.Channel)
	}
	if c.Database == "" {
		if _, err := os.Stat(c.dsn()); err != nil {
			return "", fmt.Errorf("no channel named %q can be looked up (%w): give the channel's ARN, or --data or --database of the server", c.Channel, err)
		}
	}
	db, err := store.Open(ctx, c.dsn())
	if err != nil {
		return "", err
	}
	defer db.Close()
	found, _, err := db.ListChannels(ctx, c.scope(), store.ChannelFilter{Name: c.Channel}, store.Page{Max: 1})
	if err != nil {
		return "", err
	}
	if len(found) == 0 {
		return "", fmt.Errorf("no channel is named %q in %s, account %s, region %s", c.Channel, c.dsn(), c.Account, c.Region)
	}
	return found[0].ARN, nil
}
