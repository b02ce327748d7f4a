package api_test

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/store/storetest"
)

// random matches text that differs from run to run: ids, secrets, tokens.
var random = regexp.MustCompile(`/[A-Za-z0-9]{12}x?\b|sk_[\w-]+|st-\w{23}|"passphrase":"\w+"|"nextToken":"[^"]+"|"adBreakId":"\w+"|"fingerprint":"[^"]+"|channel\.\w{12}\.m3u8`)

// The suites hold on PostgreSQL too.
func TestOnPostgreSQL(t *testing.T) {
	engine = storetest.Postgres
	defer func() { engine = storetest.SQLite }()
	for name, suite := range map[string]func(*testing.T){
		"SDKChannelLife": TestSDKChannelLife, "SDKStreamKeys": TestSDKStreamKeys, "SDKStreamLife": TestSDKStreamLife, "SDKPaginator": TestSDKPaginator,
		"SDKTags": TestSDKTags, "SDKRegions": TestSDKRegions, "EveryOutputMember": TestEveryOutputMember,
		"Constraints": TestConstraints, "SharedConstraints": TestSharedConstraints,
		"UpdateIsPartial": TestUpdateIsPartial, "Shapes": TestShapes, "ResourceShapes": TestResourceShapes, "TagsOfEveryResource": TestTagsOfEveryResource,
		"DefaultPageSizes": TestDefaultPageSizes, "Reset": TestReset,
	} {
		t.Run(name, suite)
	}
}

// SQLite and PostgreSQL give the same answers, word for word, to a history of
// calls that succeed and fail.
func TestEnginesAnswerAlike(t *testing.T) {
	histories := map[string][]string{}
	for name, dsn := range map[string]string{"sqlite": storetest.SQLite(t), "postgres": storetest.Postgres(t)} {
		s := newErrorScene(t, dsn)
		s.Now = func() time.Time { return t0 }
		note := func(operation string, a answer) {
			line := fmt.Sprint(operation, " ", a.status, " ", random.ReplaceAllString(string(a.body), "*"))
			histories[name] = append(histories[name], line)
		}
		for _, c := range s.conflicts {
			note(c.operation, s.call(c.operation, c.body))
		}
		operations := slices.Sorted(maps.Keys(sdkOperations()))
		for _, operation := range operations {
			if !strings.HasPrefix(operation, "Delete") {
				note(operation, s.call(operation, s.valid[operation]))
			}
			note(operation, s.call(operation, s.missing(operation)))
		}
		for _, operation := range []string{"GetStream", "GetStreamSession", "ListStreamSessions", "StopStream", "GetStreamSession", "GetStream"} {
			note(operation, s.call(operation, s.live))
		}
		for _, filter := range []string{`"filterByName":""`, `"filterByAdConfigurationArn":"` + s.arn["ad-configuration"] + `"`, `"maxResults":1`} {
			note("ListChannels", s.post(t, "ListChannels", `{`+filter+`}`))
		}
		for _, operation := range []string{"DeleteStreamKey", "DeletePlaybackKeyPair", "DeleteChannel", "GetChannel"} {
			note(operation, s.call(operation, s.valid[operation]))
		}
	}
	stopped := regexp.MustCompile(`"(endTime|eventTime)":"[^"]+"`) // by the clock of the test's own sessions
	for _, history := range histories {
		for i, line := range history {
			history[i] = stopped.ReplaceAllString(line, "*")
		}
	}
	if diff := cmp.Diff(histories["sqlite"], histories["postgres"]); diff != "" {
		t.Errorf("-sqlite +postgres:\n%s", diff)
	}
	if n := len(histories["sqlite"]); n < 90 {
		t.Errorf("only %d calls", n)
	}
}
