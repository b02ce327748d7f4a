package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"
	"github.com/aws/aws-sdk-go-v2/service/ivs/types"
	"github.com/aws/smithy-go"

	"github.com/millrace/millrace/internal/console"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/playback"
)

// channelCommand has the calls of the API that a new user needs. It is an ordinary client
// of the API.
type channelCommand struct {
	Create channelCreate `cmd:"" help:"Create a channel; prints where to publish to and where to watch."`
	List   channelList   `cmd:"" help:"List the channels, and which are live."`
	Show   channelShow   `cmd:"" help:"Show a channel and its stream."`
	Delete channelDelete `cmd:"" help:"Delete a channel."`
	Key    channelKey    `cmd:"" help:"Print the stream key of a channel, or replace it."`
}

// clientFlags are those of all commands that call the API.
type clientFlags struct {
	apiFlags
	JSON     bool `name:"json" help:"Print JSON."`
	Insecure bool `name:"insecure" help:"Do not check the server's certificate (HTTPS). The one in the data folder is trusted anyway."`
}

// A client calls the API of a running server.
type client struct {
	*awsivs.Client
	endpoint string
	http     *http.Client
}

func (f clientFlags) client() (*client, error) {
	key, err := readCredentials(f.storage)
	if err != nil {
		return nil, err
	}
	trust, err := f.trust(f.Insecure)
	if err != nil {
		return nil, err
	}
	endpoint, _ := f.addresses()
	c := &client{endpoint: endpoint, http: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: trust, ForceAttemptHTTP2: true}}}
	c.Client = awsivs.New(awsivs.Options{
		Region: f.Region, BaseEndpoint: aws.String(c.endpoint), HTTPClient: c.http, RetryMaxAttempts: 2,
		Credentials: credentials.NewStaticCredentialsProvider(key.AccessKeyID, key.SecretAccessKey, ""),
	})
	return c, nil
}

// channel makes a client, and finds the channel of that name or ARN.
func (f clientFlags) channel(ctx context.Context, name string) (*client, *types.Channel, error) {
	c, err := f.client()
	if err != nil {
		return nil, nil, err
	}
	channel, err := c.find(ctx, name)
	return c, channel, err
}

// explain returns the error of an API call for a user at a terminal.
func (c *client) explain(err error) error {
	if refused, ok := errors.AsType[smithy.APIError](err); ok {
		return fmt.Errorf("%s: %s", refused.ErrorCode(), refused.ErrorMessage())
	}
	return fmt.Errorf("no server answers at %s (--http, --https or --public-url name another): %w", c.endpoint, err)
}

// A channelView is a channel as the commands print it.
type channelView struct {
	Name        string      `json:"name"`
	ARN         string      `json:"arn"`
	Type        string      `json:"type"`
	LatencyMode string      `json:"latencyMode"`
	Private     bool        `json:"private"`
	PlaybackURL string      `json:"playbackUrl"`
	WatchURL    string      `json:"watchUrl"`
	Ingest      string      `json:"ingest,omitempty"` // the server and application that encoders publish to
	StreamKey   string      `json:"streamKey,omitempty"`
	Stream      *streamView `json:"stream,omitempty"` // nil unless it is live
}

type streamView struct {
	StreamID  string    `json:"streamId"`
	StartTime time.Time `json:"startTime"`
	Health    string    `json:"health"`
	Viewers   int64     `json:"viewers"`
}

func view(c *types.Channel) channelView {
	v := channelView{
		Name: aws.ToString(c.Name), ARN: aws.ToString(c.Arn), Type: string(c.Type), LatencyMode: string(c.LatencyMode),
		Private: c.Authorized, PlaybackURL: aws.ToString(c.PlaybackUrl),
	}
	v.WatchURL = watchPage(v.PlaybackURL)
	return v
}

// watchPage is the address of the viewers' page of the channel that has this playback URL.
func watchPage(url string) string {
	return strings.TrimSuffix(strings.Replace(url, playback.Root, console.WatchRoot, 1), ".m3u8")
}

const nowhere = "nowhere: the server listens for no protocol that the channel accepts (RTMPS, and RTMP with --insecure-ingest)"

// print writes v to standard output, for people or as JSON.
func (v channelView) print(asJSON bool) error {
	if asJSON {
		return printJSON(v)
	}
	kind := v.Type + ", latency " + v.LatencyMode
	if v.Private {
		kind += ", private: playback needs a token (millrace token)"
	}
	rows := [][2]string{{"Name", v.Name}, {"ARN", v.ARN}, {"Type", kind}, {"Playback", v.PlaybackURL}, {"Watch", v.WatchURL}, {"Publish to", cmp.Or(v.Ingest, nowhere)}, {"Stream key", v.StreamKey}}
	if v.Stream != nil {
		rows = append(rows, [2]string{"Live", fmt.Sprintf("since %s, %s, viewers: %d", v.Stream.StartTime.Local().Format(time.DateTime), v.Stream.Health, v.Stream.Viewers)})
	}
	for _, row := range rows {
		if row[1] != "" {
			fmt.Printf("%-11s %s\n", row[0], row[1])
		}
	}
	return nil
}

func printJSON(v any) error {
	out := json.NewEncoder(os.Stdout)
	out.SetIndent("", "  ")
	out.SetEscapeHTML(false)
	return out.Encode(v)
}

// ingest returns the address for encoders of a channel: RTMP if the channel and the server
// accept it, otherwise RTMPS.
func (c *client) ingest(ctx context.Context, insecure bool) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.endpoint+"/api/v2/FindIngest", http.NoBody)
	if err != nil {
		return "", err
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	var found struct {
		Ingests []struct {
			Plain  string `json:"url_template"`
			Secure string `json:"url_template_secure"`
		} `json:"ingests"`
	}
	if err := json.NewDecoder(io.LimitReader(answer.Body, 1<<20)).Decode(&found); err != nil {
		return "", fmt.Errorf("%s does not say where to publish: %s, %w", r.URL, answer.Status, err)
	}
	if len(found.Ingests) == 0 {
		return "", fmt.Errorf("%s does not say where to publish: %s, no ingests", r.URL, answer.Status)
	}
	address := found.Ingests[0].Secure
	if insecure && found.Ingests[0].Plain != "" {
		address = found.Ingests[0].Plain
	}
	return strings.TrimSuffix(address, "/{stream_key}"), nil
}

// find returns the channel with that ARN, or the only channel with that name.
func (c *client) find(ctx context.Context, nameOrARN string) (*types.Channel, error) {
	arn := nameOrARN
	if _, ok := ivs.ParseARN(nameOrARN); !ok {
		out, err := c.ListChannels(ctx, &awsivs.ListChannelsInput{FilterByName: &nameOrARN})
		if err != nil {
			return nil, c.explain(err)
		}
		switch len(out.Channels) {
		case 0:
			return nil, fmt.Errorf("no channel is named %q: millrace channel list shows all", nameOrARN)
		case 1:
			arn = aws.ToString(out.Channels[0].Arn)
		default:
			return nil, fmt.Errorf("several channels are named %q: give the ARN of one (millrace channel list)", nameOrARN)
		}
	}
	out, err := c.GetChannel(ctx, &awsivs.GetChannelInput{Arn: &arn})
	if err != nil {
		return nil, c.explain(err)
	}
	return out.Channel, nil
}

// key returns the stream key of a channel, nil if it has none.
func (c *client) key(ctx context.Context, arn *string) (*types.StreamKey, error) {
	keys, err := c.ListStreamKeys(ctx, &awsivs.ListStreamKeysInput{ChannelArn: arn})
	if err != nil {
		return nil, c.explain(err)
	}
	if len(keys.StreamKeys) == 0 {
		return nil, nil
	}
	out, err := c.GetStreamKey(ctx, &awsivs.GetStreamKeyInput{Arn: keys.StreamKeys[0].Arn})
	if err != nil {
		return nil, c.explain(err)
	}
	return out.StreamKey, nil
}

type channelCreate struct {
	clientFlags
	Name      string `arg:"" help:"Letters, digits, - and _."`
	Type      string `name:"type" placeholder:"TYPE" help:"STANDARD (the default), ADVANCED_SD and ADVANCED_HD have several renditions; BASIC has the source alone."`
	Latency   string `name:"latency" placeholder:"MODE" help:"LOW, the default: a few seconds, with parts. NORMAL: plain HLS."`
	Plain     bool   `name:"insecure-ingest" help:"Accept RTMP without TLS as well."`
	Private   bool   `name:"private" help:"Playback needs a token."`
	Recording string `name:"recording" placeholder:"ARN" help:"Record to this recording configuration."`
}

// Run creates the channel.
func (c *channelCreate) Run(ctx context.Context) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	in := &awsivs.CreateChannelInput{Name: &c.Name, Type: types.ChannelType(c.Type), LatencyMode: types.ChannelLatencyMode(c.Latency), InsecureIngest: c.Plain, Authorized: c.Private}
	if c.Recording != "" {
		in.RecordingConfigurationArn = &c.Recording
	}
	out, err := api.CreateChannel(ctx, in)
	if err != nil {
		return api.explain(err)
	}
	v := view(out.Channel)
	v.StreamKey = aws.ToString(out.StreamKey.Value)
	if v.Ingest, err = api.ingest(ctx, out.Channel.InsecureIngest); err != nil {
		return err
	}
	return v.print(c.JSON)
}

type channelList struct{ clientFlags }

// Run lists all channels.
func (c *channelList) Run(ctx context.Context) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	live := map[string]types.StreamSummary{}
	for pages := awsivs.NewListStreamsPaginator(api, &awsivs.ListStreamsInput{MaxResults: aws.Int32(100)}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return api.explain(err)
		}
		for _, s := range page.Streams {
			live[aws.ToString(s.ChannelArn)] = s
		}
	}
	all := []listedChannel{}
	for pages := awsivs.NewListChannelsPaginator(api, &awsivs.ListChannelsInput{MaxResults: aws.Int32(100)}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return api.explain(err)
		}
		for _, s := range page.Channels {
			l := listedChannel{Name: aws.ToString(s.Name), ARN: aws.ToString(s.Arn), Type: string(s.Type), Private: s.Authorized}
			if stream, ok := live[l.ARN]; ok {
				l.Live, l.Health, l.Viewers = true, string(stream.Health), stream.ViewerCount
			}
			all = append(all, l)
		}
	}
	if c.JSON {
		return printJSON(all)
	}
	if len(all) == 0 {
		fmt.Fprintln(os.Stderr, "There is no channel yet: millrace channel create NAME makes one.")
		return nil
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 8, 3, ' ', 0)
	fmt.Fprintln(table, "NAME\tLIVE\tVIEWERS\tTYPE\tARN")
	for _, l := range all {
		state := "no"
		if l.Live {
			state = l.Health
		}
		fmt.Fprintf(table, "%s\t%s\t%d\t%s\t%s\n", l.Name, state, l.Viewers, l.Type, l.ARN)
	}
	return table.Flush()
}

// A listedChannel is a channel in a list.
type listedChannel struct {
	Name    string `json:"name"`
	ARN     string `json:"arn"`
	Type    string `json:"type"`
	Private bool   `json:"private"`
	Live    bool   `json:"live"`
	Health  string `json:"health,omitempty"`
	Viewers int64  `json:"viewers"`
}

type channelShow struct {
	clientFlags
	Channel string `arg:"" help:"The channel's name or ARN."`
}

// Run shows the channel. Its stream key is a secret: millrace channel key has it.
func (c *channelShow) Run(ctx context.Context) error {
	api, channel, err := c.channel(ctx, c.Channel)
	if err != nil {
		return err
	}
	v := view(channel)
	if v.Ingest, err = api.ingest(ctx, channel.InsecureIngest); err != nil {
		return err
	}
	out, err := api.GetStream(ctx, &awsivs.GetStreamInput{ChannelArn: channel.Arn})
	if _, offline := errors.AsType[*types.ChannelNotBroadcasting](err); err != nil && !offline {
		return api.explain(err)
	}
	if err == nil {
		s := out.Stream
		v.Stream = &streamView{StreamID: aws.ToString(s.StreamId), StartTime: aws.ToTime(s.StartTime), Health: string(s.Health), Viewers: s.ViewerCount}
	}
	return v.print(c.JSON)
}

type channelDelete struct {
	clientFlags
	Channel string `arg:"" help:"The channel's name or ARN."`
	Stop    bool   `name:"stop" help:"Delete it even if it is live: its stream is stopped first, and its stream key deleted."`
}

// stopping is how long a stream may take to end.
const stopping = 30 * time.Second

// Run deletes the channel.
func (c *channelDelete) Run(ctx context.Context) error {
	api, channel, err := c.channel(ctx, c.Channel)
	if err != nil {
		return err
	}
	if c.Stop {
		if err := api.stop(ctx, channel.Arn); err != nil {
			return err
		}
	}
	for began := time.Now(); ; {
		_, err = api.DeleteChannel(ctx, &awsivs.DeleteChannelInput{Arn: channel.Arn})
		_, conflict := errors.AsType[*types.ConflictException](err)
		if conflict && !c.Stop {
			return fmt.Errorf("%w (--stop ends its stream first)", api.explain(err))
		}
		if !conflict || time.Since(began) > stopping {
			break
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err != nil {
		return api.explain(err)
	}
	if c.JSON {
		return printJSON(map[string]string{"deleted": aws.ToString(channel.Arn)})
	}
	fmt.Println("deleted", aws.ToString(channel.Arn))
	return nil
}

// stop ends the channel's stream, if it is live, and prevents its encoder from
// reconnecting.
func (c *client) stop(ctx context.Context, arn *string) error {
	key, err := c.key(ctx, arn)
	if err != nil {
		return err
	}
	if key != nil {
		if _, err := c.DeleteStreamKey(ctx, &awsivs.DeleteStreamKeyInput{Arn: key.Arn}); err != nil {
			return c.explain(err)
		}
	}
	_, err = c.StopStream(ctx, &awsivs.StopStreamInput{ChannelArn: arn})
	if _, offline := errors.AsType[*types.ChannelNotBroadcasting](err); err != nil && !offline {
		return c.explain(err)
	}
	return nil
}

type channelKey struct {
	clientFlags
	Channel string `arg:"" help:"The channel's name or ARN."`
	Rotate  bool   `name:"rotate" help:"Delete the stream key and create another. A live stream continues."`
}

// Run prints the stream key, alone, for scripts.
func (c *channelKey) Run(ctx context.Context) error {
	api, channel, err := c.channel(ctx, c.Channel)
	if err != nil {
		return err
	}
	key, err := api.key(ctx, channel.Arn)
	if err != nil {
		return err
	}
	if c.Rotate {
		if key != nil {
			if _, err := api.DeleteStreamKey(ctx, &awsivs.DeleteStreamKeyInput{Arn: key.Arn}); err != nil {
				return api.explain(err)
			}
		}
		out, err := api.CreateStreamKey(ctx, &awsivs.CreateStreamKeyInput{ChannelArn: channel.Arn})
		if err != nil {
			return api.explain(err)
		}
		key = out.StreamKey
	}
	if key == nil {
		return fmt.Errorf("channel %s has no stream key: --rotate makes one", aws.ToString(channel.Arn))
	}
	if c.JSON {
		return printJSON(map[string]string{"arn": aws.ToString(key.Arn), "value": aws.ToString(key.Value)})
	}
	fmt.Println(aws.ToString(key.Value))
	return nil
}
