package main

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/api"
	"github.com/millrace/millrace/internal/cluster"
	"github.com/millrace/millrace/internal/monitor"
	"github.com/millrace/millrace/internal/playback"
	"github.com/millrace/millrace/internal/store"
)

// everywhereLimit bounds the wait for the responses of the other nodes.
const everywhereLimit = 2 * time.Second

// An unreachableNode is a node that did not answer, whose part is missing.
type unreachableNode struct {
	Node string `json:"node"`
	Host string `json:"host"` // name of its machine
}

// askEverywhere calls every other node that runs, all at the same time. It returns their
// answers, and the nodes that gave none.
func askEverywhere[Out any](ctx context.Context, n *cluster.Node, name string, in any) (answers []Out, unreachable []unreachableNode) {
	ctx, cancel := context.WithTimeout(ctx, everywhereLimit)
	defer cancel()
	var mu sync.Mutex // guards answers and unreachable
	var calls sync.WaitGroup
	for _, m := range n.Members() {
		p, alive := n.Peer(m.Name)
		if p.Self || !alive {
			continue
		}
		calls.Go(func() {
			var out Out
			err := n.Call(ctx, p, name, in, &out)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				unreachable = append(unreachable, unreachableNode{m.Name, m.Host})
				return
			}
			answers = append(answers, out)
		})
	}
	calls.Wait()
	slices.SortFunc(unreachable, func(a, b unreachableNode) int { return cmp.Compare(a.Node, b.Node) })
	return answers, unreachable
}

// streamsOutput lists live streams.
type streamsOutput struct {
	Streams     []monitor.Stream  `json:"streams"`
	Unreachable []unreachableNode `json:"unreachable,omitempty"` // nodes that did not answer, whose part is missing
}

// listStreams serves GET /_millrace/streams: the figures of every live stream, of all nodes,
// in the order of their channels' ARNs. Nodes have 2 seconds to answer.
//
// This is one call for all, where health is one for each.
func (a anywhere) listStreams(here func(store.Scope) []monitor.Stream) api.Extension {
	return func(w http.ResponseWriter, r *http.Request, scope store.Scope) error {
		others, unreachable := askEverywhere[[]monitor.Stream](r.Context(), a.node, "streams", scope)
		out := streamsOutput{here(scope), unreachable}
		for _, streams := range others {
			out.Streams = append(out.Streams, streams...)
		}
		monitor.SortStreams(out.Streams)
		api.Reply(w, out)
		return nil
	}
}

// viewersOutput lists viewer sessions of a channel.
type viewersOutput struct {
	playback.ViewerList
	Unreachable []unreachableNode `json:"unreachable,omitempty"` // nodes that did not answer, whose part is missing
}

// listViewers serves GET /_millrace/channels/{channel}/viewers: the viewer sessions of a
// channel on all nodes, newest first, at most 1,000. Nodes have 2 seconds to answer.
func (a anywhere) listViewers(channel channelOf, here func(channelARN string) playback.ViewerList) api.Extension {
	return func(w http.ResponseWriter, r *http.Request, scope store.Scope) error {
		arn, err := channel(r, nil, scope)
		if err != nil {
			return err
		}
		others, unreachable := askEverywhere[playback.ViewerList](r.Context(), a.node, "viewer-lists", arn)
		out := viewersOutput{here(arn), unreachable}
		for _, list := range others {
			out.Add(list)
		}
		api.Reply(w, out)
		return nil
	}
}

// addEverywhere adds the calls whose answers are of all nodes, and what nodes ask each
// other for them.
func (a anywhere) addEverywhere(control *api.Server, endpoints map[string]http.Handler, watch *monitor.Handler, views *playback.Handler) {
	control.Extensions["GET /_millrace/streams"] = a.listStreams(watch.Streams)
	endpoints["POST streams"] = cluster.Endpoint(func(_ context.Context, scope store.Scope) ([]monitor.Stream, error) { return watch.Streams(scope), nil })

	const pattern = "GET /_millrace/channels/{channel}/viewers"
	viewers := a.listViewers(ofPath(watch.Channel), views.Viewers)
	control.Extensions[pattern] = viewers
	endpoints[passedPattern(pattern)] = passed(viewers) // nodes of the version before forward the call to the owner
	endpoints["POST viewer-lists"] = cluster.Endpoint(func(_ context.Context, arn string) (playback.ViewerList, error) { return views.Viewers(arn), nil })
}
