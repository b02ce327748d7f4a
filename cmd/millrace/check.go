package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/millrace/millrace/internal/hls/hlscheck"
)

// checkCommand judges a live stream of any server.
type checkCommand struct {
	URL      string        `arg:"" help:"URL of a multivariant or media playlist."`
	For      time.Duration `name:"for" default:"30s" placeholder:"TIME" help:"How long to follow the stream, up to 10m (${default})."`
	JSON     bool          `name:"json" help:"Print JSON."`
	Insecure bool          `name:"insecure" help:"Do not check the server's certificate."`
}

// maxCheck is how long a stream may be followed: what was fetched is in memory.
const maxCheck = 10 * time.Minute

// Run prints the broken rules. It returns an error if one of them is an error.
func (c *checkCommand) Run(ctx context.Context) error {
	if u, err := url.Parse(c.URL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("%q: must be the http:// or https:// URL of a playlist", c.URL)
	}
	if c.For < time.Second || c.For > maxCheck {
		return fmt.Errorf("--for %v: must be between 1s and %v", c.For, maxCheck)
	}
	player := &hlscheck.Follower{HTTP: &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{InsecureSkipVerify: c.Insecure}, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 32,
	}}}
	limited, cancel := context.WithTimeout(ctx, c.For)
	defer cancel()
	report, err := player.Follow(limited, c.URL)
	if err != nil {
		return err
	}
	errorCount := 0
	for _, p := range report.Problems {
		if !p.Warning {
			errorCount++
		}
	}
	if c.JSON {
		err = c.printJSON(report, errorCount)
	} else {
		c.print(report, errorCount)
	}
	if err == nil && errorCount > 0 {
		err = fmt.Errorf("the stream breaks rules: %d errors", errorCount)
	}
	return err
}

// alike is how many problems of one rule are printed for people.
const alike = 5

func (c *checkCommand) print(r hlscheck.Report, errorCount int) {
	seen := map[string]int{}
	for _, p := range r.Problems {
		if seen[p.Rule]++; seen[p.Rule] > alike {
			continue
		}
		line := ""
		if p.Line > 0 {
			line = fmt.Sprintf(" line %d", p.Line)
		}
		fmt.Printf("%6.2fs %-7s %s (%s): %s\n        %s%s\n", p.At.Seconds(), level(p), p.Rule, p.Section(), p.Text, p.URL, line)
	}
	for rule, n := range seen {
		if n > alike {
			fmt.Printf("and %d more of %s\n", n-alike, rule)
		}
	}
	if r.NotKept {
		fmt.Println("Not all media was looked into: it was too much to keep.")
	}
	fmt.Printf("%d renditions, %d playlists, %d parts and segments: %d errors, %d warnings\n", r.Renditions, r.Playlists, r.Media, errorCount, len(r.Problems)-errorCount)
}

func level(p hlscheck.Moment) string {
	if p.Warning {
		return "warning"
	}
	return "error"
}

// A checkedProblem is a line of the report.
type checkedProblem struct {
	Level   string  `json:"level"` // error or warning
	Rule    string  `json:"rule"`
	Section string  `json:"section,omitempty"`
	At      float64 `json:"at"` // seconds since the beginning
	URL     string  `json:"url"`
	Line    int     `json:"line,omitempty"` // of the playlist
	Text    string  `json:"text"`
}

func (c *checkCommand) printJSON(r hlscheck.Report, errorCount int) error {
	problems := []checkedProblem{}
	for _, p := range r.Problems {
		problems = append(problems, checkedProblem{level(p), p.Rule, p.Section(), p.At.Seconds(), p.URL, p.Line, p.Text})
	}
	return printJSON(struct {
		URL        string           `json:"url"`
		Renditions int              `json:"renditions"`
		Playlists  int              `json:"playlists"`
		Media      int              `json:"media"`
		Errors     int              `json:"errors"`
		Warnings   int              `json:"warnings"`
		NotKept    bool             `json:"mediaNotKept"`
		Problems   []checkedProblem `json:"problems"`
	}{c.URL, r.Renditions, r.Playlists, r.Media, errorCount, len(problems) - errorCount, r.NotKept, problems})
}
