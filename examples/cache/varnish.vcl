# Varnish as a cache in front of Millrace. It keeps one copy of playlists, parts and
# segments for all viewers, and asks Millrace for each viewer session whether it may
# have them: private channels stay private, and viewers count. Requests that wait for
# the same part wait for one answer. Millrace runs with --trusted-proxies and the
# address of Varnish, else all viewers are one client. X-Cache says HIT for what came
# from the cache.
vcl 4.1;

import directors;

backend millrace {
	.host = "127.0.0.1";
	.port = "8080";
	.first_byte_timeout = 75s; # a playlist that is waited for
	.probe = { .url = "/readyz/playback"; .interval = 1s; .window = 3; .threshold = 2; .initial = 2; }
}

# What is about a viewer session goes to one node, since a viewer counts on each node
# that serves it.
sub vcl_init {
	new nodes = directors.hash();
	nodes.add_backend(millrace, 1); # one for each node
}

sub vcl_recv {
	unset req.http.Forwarded; # X-Forwarded-For is what Varnish sets
	if (req.url ~ "^/api/video/v1/[^/]+/[^/]+/.") {
		set req.backend_hint = nodes.backend(regsub(req.url, "^/api/video/v1/([^/]+/[^/]+)/.*", "\1"));
	} else {
		set req.backend_hint = nodes.backend(req.xid);
	}
	if (req.restarts > 0 && req.http.X-Media) { # Millrace has allowed it
		# What of the query makes a playlist another one. The rest, such as what
		# players report (CMCD), went to Millrace with the question.
		set req.url = regsub(regsuball(req.url, "[?&](?!_HLS_|parts=off)[^&]*", ""), "^([^?&]*)&", "\1?");
		return (hash);
	}
	unset req.http.X-Media;
	if (req.url ~ "^/api/video/v1/[^/]+/[^/]+/." && (req.method == "GET" || req.method == "HEAD")) {
		set req.http.X-Media = req.url;
		set req.url = regsub(req.url, "^/api/video/v1/", "/api/video/v1/authorize/");
		return (hash);
	}
	return (pass); # playback URLs with their tokens, the API, the console
}

sub vcl_hash {
	if (req.restarts > 0) {
		hash_data(regsub(req.url, "^(/api/video/v1/[^/]+)/[^/]+/", "\1/")); # without the viewer session
	} else {
		hash_data(regsub(req.url, "\?.*", ""));
		hash_data(req.http.Origin);
	}
	return (lookup);
}

sub vcl_backend_response {
	set beresp.grace = 0s; # a playlist that is too old is worse than none
	if (bereq.url ~ "^/api/video/v1/authorize/") {
		if (beresp.status == 204) {
			set beresp.ttl = 1s;
		} else {
			set beresp.ttl = 0s;
			set beresp.uncacheable = true;
		}
		return (deliver);
	}
}

sub vcl_deliver {
	if (req.restarts == 0 && req.http.X-Media && resp.status == 204) {
		set req.url = req.http.X-Media;
		return (restart);
	}
	if (obj.hits > 0) {
		set resp.http.X-Cache = "HIT";
	} else {
		set resp.http.X-Cache = "MISS";
	}
}
