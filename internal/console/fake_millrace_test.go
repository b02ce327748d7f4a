package console

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// What the fake server answers below /_millrace/.

// signed answers only to requests that look signed; that signatures verify is
// for the end-to-end tests to prove.
func (s *site) signed(answer http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		authorization := r.Header.Get("Authorization")
		if !strings.HasPrefix(authorization, "AWS4-HMAC-SHA256 Credential="+accessKey+"/") || !strings.Contains(authorization, "SignedHeaders=host;") {
			refuse(w, 403, "UnrecognizedClientException", "The security token included in the request is invalid")
			return
		}
		answer(w, r)
	}
}

// pastHole is when the past session's measurements are missing: minutes after
// 08:00.
var pastHole = [2]int64{20, 25}

func (s *site) metrics(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := r.URL.Query()
	start, end, period := number(q.Get("start")), number(q.Get("end")), number(q.Get("period"))
	s.asked = append(s.asked, [3]int64{start, end, period})
	metrics := map[string][][2]float64{}
	id, past := q.Get("streamId"), pastStart.Unix()
	for t := start / period * period; t < end; t += period {
		inPast := id == pastStream && t >= past-60 && t < pastEnd.Unix() && ((t-past)/60 < pastHole[0] || (t-past)/60 >= pastHole[1])
		now := id == s.stream && t >= s.started.Unix() && t < time.Now().Unix()
		if !inPast && !now {
			continue
		}
		video := 2.4e6 + 2e5*math.Sin(float64(t)/7)
		if !s.starving.IsZero() && t >= s.starving.Unix() {
			video = 1.1e6
		}
		if inPast && t >= past+9*60 && t < past+11*60 {
			video = 600e3
		}
		if t == s.started.Unix()+60 {
			video = rush
		}
		add := func(name string, v float64) { metrics[name] = append(metrics[name], [2]float64{float64(t), v}) }
		add("IngestVideoBitrate", video)
		add("IngestAudioBitrate", 128e3)
		add("IngestBitrate", video+128e3)
		add("IngestFramerate", 25)
		add("ConcurrentViews", 3)
		if t%2 == 0 {
			add("KeyframeInterval", 2)
		}
	}
	reply(w, object{"channelArn": liveARN, "streamId": id, "period": period, "metrics": metrics})
}

func number(text string) int64 {
	n, _ := strconv.ParseInt(text, 10, 64)
	return max(n, 1)
}

// rush is the bit rate of one second, as it comes after a stall: the axis of a
// chart must not give all its height to it.
const rush = 171e6

const starvingSentence = "The encoder announced 6.0 Mbit/s and delivers 1.1; the video will stall. " + hostile

func (s *site) health(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.live:
		refuse(w, 404, "ResourceNotFoundException", "No stream")
	case !s.starving.IsZero():
		reply(w, object{"health": "STARVING", "sentence": starvingSentence})
	default:
		reply(w, object{"health": "HEALTHY", "sentence": "The video arrives in time: 2.4 Mbit/s, 25 fps."})
	}
}

// events streams that something has happened, until the page leaves.
func (s *site) events(w http.ResponseWriter, r *http.Request) {
	happened := make(chan struct{}, 1)
	s.mu.Lock()
	s.happened = append(s.happened, happened)
	s.mu.Unlock()
	w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprint(w, ": millrace events\n\n")
	for {
		http.NewResponseController(w).Flush()
		select {
		case <-r.Context().Done():
			return
		case <-happened:
			fmt.Fprint(w, "id: 1\ndata: {\"detail-type\":\"IVS Stream State Change\"}\n\n")
		}
	}
}

// notify wakes all that follow the events. The caller holds mu.
func (s *site) notify() {
	for _, ch := range s.happened {
		select {
		case ch <- struct{}{}:
		default: // it has not yet taken the one before
		}
	}
}

// starve lets the live stream starve, from some seconds ago on.
func (s *site) starve() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.starving = time.Now().Add(-20 * time.Second)
	s.notify()
}

// further are the channels of the crowd, one page of ListChannels after the
// other.
func (s *site) further(token string) (page []object, next string) {
	const pageSize = 100 // what the page asks for
	from := int(number(token)) - 1
	for i := from; i < min(from+pageSize, s.crowd); i++ {
		page = append(page, object{"arn": fmt.Sprintf("arn:aws:ivs:us-west-2:000000000000:channel/crowd%07d", i), "name": fmt.Sprintf("crowd %d", i)})
	}
	if from+pageSize < s.crowd {
		next = strconv.Itoa(from + pageSize + 1)
	}
	return page, next
}
