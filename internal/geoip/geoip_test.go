package geoip_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"

	"github.com/millrace/millrace/internal/geoip"
)

// write makes a database of prefixes and their countries.
func write(t *testing.T, path string, countries map[string]string) {
	t.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "GeoLite2-Country", IncludeReservedNetworks: true})
	if err != nil {
		t.Fatal(err)
	}
	for prefix, code := range countries {
		_, network, err := net.ParseCIDR(prefix)
		if err != nil {
			t.Fatal(err)
		}
		record := mmdbtype.Map{"country": mmdbtype.Map{"iso_code": mmdbtype.String(code)}}
		if code == "" {
			record = mmdbtype.Map{"continent": mmdbtype.Map{"code": mmdbtype.String("EU")}}
		}
		if err := tree.Insert(network, record); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	if _, err := tree.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestCountry(t *testing.T) {
	path := filepath.Join(t.TempDir(), "countries.mmdb")
	write(t, path, map[string]string{"198.51.100.0/24": "DE", "203.0.113.0/24": "us", "2001:db8::/32": "JP", "192.0.2.0/24": ""})
	db, err := geoip.Open(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]string{
		"198.51.100.7": "DE", "198.51.100.7:443": "DE", "::ffff:198.51.100.7": "DE", "[2001:db8::1]:443": "JP", "2001:db8::1%eth0": "JP",
		"203.0.113.1": "US", "192.0.2.1": "", "10.0.0.1": "", "2001:db9::1": "", "": "", "example.com": "", "@": "",
	} {
		if got := db.Country(address); got != want {
			t.Errorf("%q is in %q, want %q", address, got, want)
		}
	}
}

func TestOpenFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.mmdb")
	if _, err := geoip.Open(path, nil); err == nil {
		t.Error("a file that is not there is opened")
	}
	if err := os.WriteFile(path, []byte("not a database"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := geoip.Open(path, nil); err == nil || !strings.Contains(err.Error(), "MaxMind") {
		t.Errorf("another file: %v", err)
	}
}

// A file that changes is read again; what is no database leaves the last in use.
func TestFileChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "countries.mmdb")
		write(t, path, map[string]string{"198.51.100.0/24": "DE"})
		db, err := geoip.Open(path, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go db.Run(ctx) // it returns nil
		check := func(want string) {
			t.Helper()
			time.Sleep(6 * time.Second)
			synctest.Wait()
			if got := db.Country("198.51.100.7"); got != want {
				t.Errorf("the country is %q, want %q", got, want)
			}
		}
		check("DE")
		if err := os.WriteFile(path, []byte("half a file"), 0o600); err != nil {
			t.Fatal(err)
		}
		check("DE")
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		check("DE")
		write(t, path, map[string]string{"198.51.100.0/24": "FR"})
		check("FR")
	})
}
