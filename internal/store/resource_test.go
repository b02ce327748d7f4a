package store_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/store/storetest"
)

func newARN(typ string) string {
	return ivs.ARN{Region: here.Region, Account: here.Account, Type: typ, ID: ivs.NewID()}.String()
}

func newRecording(state string) ivs.RecordingConfiguration {
	c := ivs.RecordingConfiguration{ARN: newARN(ivs.RecordingConfigurationType), Name: "r", State: state, Tags: map[string]string{"k": "v"},
		ReconnectWindowSeconds: 60, ThumbnailConfiguration: ivs.ThumbnailConfiguration{RecordingMode: ivs.ThumbnailsDisabled},
		RenditionConfiguration: ivs.RenditionConfiguration{RenditionSelection: ivs.RenditionsCustom, Renditions: []string{ivs.ResolutionHD}}}
	c.DestinationConfiguration.S3.BucketName = "bucket"
	return c
}

// addResources makes one of each type that a channel can refer to.
func addResources(t *testing.T, db *store.DB) (recording, policy, ad string) {
	t.Helper()
	r := newRecording(ivs.RecordingActive)
	p := ivs.PlaybackRestrictionPolicy{ARN: newARN(ivs.PlaybackRestrictionPolicyType), Tags: map[string]string{}}
	a := ivs.AdConfiguration{ARN: newARN(ivs.AdConfigurationType), Tags: map[string]string{}}
	must(t, db.RecordingConfigurations().Create(t.Context(), r, 9, false), db.PlaybackRestrictionPolicies().Create(t.Context(), p, 9, false),
		db.AdConfigurations().Create(t.Context(), a, 9, false))
	return r.ARN, p.ARN, a.ARN
}

// A resource comes back as it was given, whatever becomes of its tags.
func TestResourceLife(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, all := t.Context(), db.RecordingConfigurations()
		c := newRecording(ivs.RecordingCreating)
		must(t, all.Create(ctx, c, 1, true))
		wantKind(t, "Create", all.Create(ctx, newRecording(ivs.RecordingActive), 1, false), ivs.QuotaExceeded)
		got, err := all.Get(ctx, c.ARN)
		if diff := cmp.Diff(c, got); err != nil || diff != "" {
			t.Fatalf("Get: %v\n%s", err, diff)
		}
		if list, err := all.Pending(ctx, 10); err != nil || len(list) != 1 {
			t.Errorf("Pending = %v, %v", list, err)
		}
		must(t, db.UpdateTags(ctx, c.ARN, func(tags map[string]string) error {
			delete(tags, "k")
			tags["other"] = ""
			return nil
		}))
		updated, err := all.Update(ctx, c.ARN, func(c *ivs.RecordingConfiguration) error {
			c.State = ivs.RecordingActive
			return nil
		})
		c.State, c.Tags = ivs.RecordingActive, map[string]string{"other": ""}
		if diff := cmp.Diff(c, updated); err != nil || diff != "" {
			t.Errorf("Update: %v\n%s", err, diff)
		}
		got, err = all.Get(ctx, c.ARN)
		if diff := cmp.Diff(c, got); err != nil || diff != "" {
			t.Errorf("Get after Update: %v\n%s", err, diff)
		}
		if list, err := all.Pending(ctx, 10); err != nil || len(list) != 0 {
			t.Errorf("Pending after Update = %v, %v", list, err)
		}
		must(t, all.Delete(ctx, c.ARN))
		wantKind(t, "Delete", all.Delete(ctx, c.ARN), ivs.NotFound)
		_, err = all.Get(ctx, c.ARN)
		wantKind(t, "the call before", err, ivs.NotFound)
		_, err = all.Update(ctx, c.ARN, func(*ivs.RecordingConfiguration) error { return nil })
		wantKind(t, "the call before", err, ivs.NotFound)
	})
}

// A channel refers only to what there is, and keeps it from being deleted.
func TestReferences(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		active, failed := newRecording(ivs.RecordingActive), newRecording(ivs.RecordingCreateFailed)
		policy := ivs.PlaybackRestrictionPolicy{ARN: newARN(ivs.PlaybackRestrictionPolicyType), Tags: map[string]string{}}
		ad := ivs.AdConfiguration{ARN: newARN(ivs.AdConfigurationType), Tags: map[string]string{}}
		must(t, db.RecordingConfigurations().Create(ctx, active, 9, false))
		must(t, db.RecordingConfigurations().Create(ctx, failed, 9, false))
		must(t, db.PlaybackRestrictionPolicies().Create(ctx, policy, 9, false))
		must(t, db.AdConfigurations().Create(ctx, ad, 9, false))

		c := ivs.NewChannel(here.Account, here.Region)
		try := func(change func(*ivs.Channel)) error {
			c := c
			change(&c)
			return db.CreateChannel(ctx, c, newKey(here, c.ARN))
		}
		wantKind(t, "try", try(func(c *ivs.Channel) { c.RecordingConfigurationARN = newARN(ivs.RecordingConfigurationType) }), ivs.NotFound)
		wantKind(t, "try", try(func(c *ivs.Channel) { c.RecordingConfigurationARN = failed.ARN }), ivs.Validation)
		foreign := ivs.NewChannel("999999999999", here.Region)
		foreign.AdConfigurationARN = ad.ARN
		wantKind(t, "CreateChannel", db.CreateChannel(ctx, foreign, newKey(here, foreign.ARN)), ivs.NotFound)
		must(t, try(func(c *ivs.Channel) {
			c.RecordingConfigurationARN, c.PlaybackRestrictionPolicyARN, c.AdConfigurationARN = active.ARN, policy.ARN, ad.ARN
		}))
		wantKind(t, "Delete", db.RecordingConfigurations().Delete(ctx, active.ARN), ivs.Conflict)
		wantKind(t, "Delete", db.PlaybackRestrictionPolicies().Delete(ctx, policy.ARN), ivs.Conflict)
		wantKind(t, "Delete", db.AdConfigurations().Delete(ctx, ad.ARN), ivs.Conflict)

		// What a stream recorded with stays with its session.
		id := addSession(t, db, c.ARN, "n", time.Now())
		must(t, db.StartStream(ctx, id, time.Now(), ivs.IngestConfigurations{}))
		must(t, db.WriteEnd(ctx, ended(id, time.Now())))
		_, err := db.UpdateChannel(ctx, c.ARN, func(c *ivs.Channel) error {
			c.RecordingConfigurationARN, c.PlaybackRestrictionPolicyARN, c.AdConfigurationARN = "", "", ""
			return nil
		})
		must(t, err)
		must(t, db.RecordingConfigurations().Delete(ctx, active.ARN))
		must(t, db.PlaybackRestrictionPolicies().Delete(ctx, policy.ARN))
		must(t, db.AdConfigurations().Delete(ctx, ad.ARN))
		session, err := db.StreamSession(ctx, c.ARN, id)
		must(t, err)
		if diff := cmp.Diff(&active, session.RecordingConfiguration); diff != "" {
			t.Error(diff)
		}
		_, err = db.UpdateChannel(ctx, c.ARN, func(c *ivs.Channel) error {
			c.RecordingConfigurationARN = active.ARN
			return nil
		})
		wantKind(t, "the call before", err, ivs.NotFound)
	})
}

// However many are made at a time, there are never more than the quota, and
// the same key is never imported twice.
func TestQuotaUnderConcurrency(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		const tries, quota = 12, 3
		var wg sync.WaitGroup
		kinds := make(chan ivs.Kind, 3*tries)
		run := func(f func() error) {
			wg.Go(func() {
				err := f()
				kind, _ := ivs.Public(err)
				if err != nil && kind == ivs.Internal {
					t.Error(err)
				}
				if err == nil {
					kinds <- ivs.Internal // stands for success
				}
			})
		}
		ctx := context.Background()
		for range tries {
			run(func() error {
				k := ivs.PlaybackKeyPair{ARN: newARN(ivs.PlaybackKeyType), Fingerprint: ivs.NewID()}
				return db.PlaybackKeyPairs().Create(ctx, k, quota, false)
			})
			run(func() error {
				c := ivs.NewChannel(here.Account, here.Region)
				return db.CreateChannelWithin(ctx, c, newKey(here, c.ARN), quota)
			})
		}
		wg.Wait()
		if n := len(kinds); n != 2*quota {
			t.Errorf("%d were made, want %d of each", n, quota)
		}
		keys, _, err := db.PlaybackKeyPairs().List(ctx, here, store.Page{Max: 100})
		if err != nil || len(keys) != quota {
			t.Fatalf("%d keys, %v", len(keys), err)
		}
		again := ivs.PlaybackKeyPair{ARN: newARN(ivs.PlaybackKeyType), Fingerprint: keys[0].Fingerprint}
		wantKind(t, "Create", db.PlaybackKeyPairs().Create(ctx, again, 100, false), ivs.Conflict)
	})
}

// A resource is deleted, or it is attached; never both.
func TestDeleteAgainstAttach(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		for range 10 {
			policy := ivs.PlaybackRestrictionPolicy{ARN: newARN(ivs.PlaybackRestrictionPolicyType), Tags: map[string]string{}}
			must(t, db.PlaybackRestrictionPolicies().Create(t.Context(), policy, 100, false))
			c := ivs.NewChannel(here.Account, here.Region)
			c.PlaybackRestrictionPolicyARN = policy.ARN
			var attach, remove error
			var wg sync.WaitGroup
			wg.Go(func() { attach = db.CreateChannel(context.Background(), c, newKey(here, c.ARN)) })
			wg.Go(func() { remove = db.PlaybackRestrictionPolicies().Delete(context.Background(), policy.ARN) })
			wg.Wait()
			if attach == nil && !ivs.Is(remove, ivs.Conflict) || remove == nil && !ivs.Is(attach, ivs.NotFound) {
				t.Errorf("attach: %v; delete: %v", attach, remove)
			}
		}
	})
}
