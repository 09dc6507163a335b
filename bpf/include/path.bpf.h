/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The negative cache: peers whose path drops or strips the option, with exponential back-off.
 * Modelled on TCP Fast Open's black-hole list (commit cf1ef3f0719b), but per peer.
 */
#ifndef WB_PATH_BPF_H
#define WB_PATH_BPF_H

#include "maps.bpf.h"

/* Proofs that one failure takes away; a peer with fewer is switched off by it. */
#define WB_PATH_FAILURE_COST 8
#define WB_PATH_GOOD_MAX 64
/* A missing handshake ACK alone may be plain loss; this many in a row are not. */
#define WB_PATH_SUSPICIONS_MAX 3
/* Longest back-off: 2^10 times the first. */
#define WB_PATH_FAILURES_MAX 10

static __always_inline bool path_is_off(struct wb_path_key *key)
{
	struct wb_path *path = bpf_map_lookup_elem(&paths, key);

	return path && path->off_until_ns > bpf_ktime_get_ns();
}

static __always_inline void path_failed(struct wb_path_key *key, u32 reason, struct wb_config *cfg)
{
	struct wb_path *path = bpf_map_lookup_elem(&paths, key);
	u64 now = bpf_ktime_get_ns();

	count(WB_COUNT_PATH_FAILURES);
	if (path) {
		path->changed_ns = now;
		path->reason = reason;
		path->suspicions = 0;
		if (path->good >= WB_PATH_FAILURE_COST) {
			path->good -= WB_PATH_FAILURE_COST;
			return;
		}
		u32 exponent = path->failures;

		if (exponent < WB_PATH_FAILURES_MAX)
			path->failures = exponent + 1;
		path->off_until_ns = now + (cfg->path_backoff_ns << (exponent & 0xf));
		return;
	}
	struct wb_path fresh = {};

	fresh.off_until_ns = now + cfg->path_backoff_ns;
	fresh.changed_ns = now;
	fresh.failures = 1;
	fresh.reason = reason;
	bpf_map_update_elem(&paths, key, &fresh, BPF_ANY);
}

/* A weak sign: only a run of them switches the peer off. */
static __always_inline void path_suspected(struct wb_path_key *key, u32 reason,
					   struct wb_config *cfg)
{
	struct wb_path *path = bpf_map_lookup_elem(&paths, key);

	if (path) {
		path->suspicions++;
		if (path->suspicions >= WB_PATH_SUSPICIONS_MAX)
			path_failed(key, reason, cfg);
		return;
	}
	struct wb_path fresh = {};

	fresh.changed_ns = bpf_ktime_get_ns();
	fresh.reason = reason;
	fresh.suspicions = 1;
	bpf_map_update_elem(&paths, key, &fresh, BPF_ANY);
}

/* The peer's option arrived: what was suspected is forgotten. */
static __always_inline void path_cleared(struct wb_path_key *key)
{
	struct wb_path *path = bpf_map_lookup_elem(&paths, key);

	if (path)
		path->suspicions = 0;
}

static __always_inline void path_passed(struct wb_path_key *key)
{
	struct wb_path *path = bpf_map_lookup_elem(&paths, key);

	if (path) {
		path->suspicions = 0;
		if (path->good < WB_PATH_GOOD_MAX)
			path->good++;
		return;
	}
	struct wb_path fresh = {};

	fresh.changed_ns = bpf_ktime_get_ns();
	fresh.good = 1;
	bpf_map_update_elem(&paths, key, &fresh, BPF_ANY);
}

#endif /* WB_PATH_BPF_H */
