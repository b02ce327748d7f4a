package main

import (
	"context"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
)

// channelNamed finds a channel and its stream key by the channel's name or
// ARN. It returns an ivs.NotFound error if there is none.
func channelNamed(ctx context.Context, db *store.DB, scope store.Scope, name string) (c ivs.Channel, k ivs.StreamKey, err error) {
	arn := name
	if _, ok := ivs.ParseARN(name); !ok {
		found, _, err := db.ListChannels(ctx, scope, store.ChannelFilter{Name: name}, store.Page{Max: 1})
		if err != nil {
			return c, k, err
		}
		if len(found) == 0 {
			return c, k, ivs.Errorf(ivs.NotFound, "No channel is named %q", name)
		}
		arn = found[0].ARN
	}
	if c, err = db.Channel(ctx, arn); err != nil {
		return c, k, err
	}
	keys, _, err := db.ListStreamKeys(ctx, arn, store.Page{Max: 1})
	if err != nil {
		return c, k, err
	}
	if len(keys) == 0 {
		return c, k, ivs.Errorf(ivs.NotFound, "Channel %s has no stream key", arn)
	}
	k, err = db.StreamKey(ctx, keys[0].ARN)
	return c, k, err
}

// createChannel makes a channel of that type that takes plain RTMP.
func createChannel(ctx context.Context, db *store.DB, scope store.Scope, name, kind string) (ivs.Channel, ivs.StreamKey, error) {
	c := ivs.NewChannel(scope.Account, scope.Region)
	c.Name, c.Type, c.InsecureIngest = name, kind, true
	k := ivs.NewStreamKey(scope.Account, scope.Region, c.ARN)
	return c, k, db.CreateChannel(ctx, c, k)
}
