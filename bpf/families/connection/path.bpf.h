/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The negative cache: services whose path drops or strips the option, with exponential back-off.
 *
 * A lost segment looks the same whether a box or plain loss took it, so one sign proves nothing.
 * Evidence is summed as in Page's CUSUM test (Biometrika 41, 1954): what loss makes unlikely adds
 * bits, what a box would not have let happen takes some away, and the sum never gets negative.
 * How unlikely a loss is, the path tells itself: by the handshakes in which SYN or SYN-ACK, which
 * never carry the option, had to be repeated. Before a path goes off it is on trial: connections
 * with and without the option take turns, and where those without fare no better, the option is
 * not to blame (a listener that defers, a full accept queue, keep-alive probes).
 */
#ifndef WB_PATH_BPF_H
#define WB_PATH_BPF_H

#include "maps.bpf.h"

/* From here on a path is on trial. */
#define WB_PATH_TRIAL 8
/* From here on it is off: the chance that loss does this is below 2^-16 for each connection. */
#define WB_PATH_OFF 16
/* Most bits of one failure, and handshakes without repetition that are taken for granted. */
#define WB_PATH_BITS_MAX 6
#define WB_PATH_PRIOR 32
/* Handshakes after which older ones count half. */
#define WB_PATH_HANDSHAKES 4096
/* An option that was stripped adds this, and each one that leaves takes one away. */
#define WB_PATH_STRIPPED_BITS 6
/*
 * The same for answers. Behind an address that accepted connections come from may be many hosts,
 * so that it goes off only when more than half of the answers get lost: one of them is not all.
 */
#define WB_PATH_ANSWER_BITS 6
#define WB_PATH_ANSWER_COST 3
/* Loss comes in bursts: what begins within this time of another counts with it as one. While a path
 * is on trial, an option leaves once in this time. */
#define WB_PATH_BURST_NS (250ULL * 1000000ULL)
/* Evidence loses a bit, and the back-off a doubling, with each of these. */
#define WB_PATH_AGE_NS (3600ULL * 1000000000ULL)
/* Longest back-off: 2^6 times the first, about an hour. */
#define WB_PATH_EXPONENT_MAX 6
/* Options that must have come for what comes without one to be taken for loss. */
#define WB_PATH_ARRIVED_MIN 4
#define WB_PATH_ARRIVED_MAX 64
#define WB_PATH_MISSING_COST 2

enum wb_path_verdict {
	WB_PATH_VERDICT_OFF = 0,
	WB_PATH_VERDICT_CONTROL = 1, /* without the option, but to be watched */
	WB_PATH_VERDICT_WRITE = 2,
	WB_PATH_VERDICT_TRACK = 3, /* write, and tell what became of it */
};

static __always_inline u32 less(u32 from, u64 amount)
{
	return from > amount ? from - amount : 0;
}

static __always_inline void path_age(struct wb_path *path, u64 now)
{
	if (now < path->aged_ns + WB_PATH_AGE_NS)
		return;
	u64 steps = (now - path->aged_ns) / WB_PATH_AGE_NS;

	path->aged_ns += steps * WB_PATH_AGE_NS;
	path->lost = less(path->lost, steps);
	path->stripped = less(path->stripped, steps);
	path->times_off = less(path->times_off, steps);
}

/* Bits of one failure: log2 of how rarely this path has to repeat what has no option, less the bit
 * that an outcome costs either way. */
static __always_inline u32 path_bits(struct wb_path *path)
{
	u32 all = path->handshakes + WB_PATH_PRIOR;
	u32 bad = path->repeated + 1;

	_Static_assert(WB_PATH_BITS_MAX == 6, "a comparison for each");
	return less((all >= bad << 1) + (all >= bad << 2) + (all >= bad << 3) + (all >= bad << 4) +
			    (all >= bad << 5) + (all >= bad << 6),
		    1);
}

/* The entry of a path, made if it is not there. */
static __always_inline struct wb_path *path_of(struct wb_path_key *key)
{
	struct wb_path *path = bpf_map_lookup_elem(&paths, key);
	struct wb_path fresh = {};

	if (path)
		return path;
	fresh.aged_ns = bpf_ktime_get_ns();
	bpf_map_update_elem(&paths, key, &fresh, BPF_NOEXIST);
	return bpf_map_lookup_elem(&paths, key);
}

/* Half of the evidence is kept, so that two more failures are enough when the path is on again. */
static __always_inline void path_switch_off(struct wb_path *path, u64 now,
					    struct wb_connection_config *cfg)
{
	u32 exponent = path->times_off;

	if (exponent > WB_PATH_EXPONENT_MAX)
		exponent = WB_PATH_EXPONENT_MAX;
	count(WB_COUNT_PATH_SWITCHED_OFF);
	path->times_off = exponent + 1;
	path->off_until_ns = now + (cfg->path_backoff_ns << exponent);
	path->aged_ns = path->off_until_ns;
	if (path->lost >= WB_PATH_OFF)
		path->lost = WB_PATH_TRIAL;
	if (path->stripped >= WB_PATH_OFF)
		path->stripped = WB_PATH_TRIAL;
	path->control_passed = 0;
}

/* Segments with the option were lost, or those of a connection that ended its handshake then. */
static __always_inline void path_failed(struct wb_path_key *key, u64 established_ns, u32 reason,
					struct wb_connection_config *cfg)
{
	struct wb_path *path = path_of(key);
	u64 now = bpf_ktime_get_ns();

	count(WB_COUNT_PATH_FAILURES);
	/* What left before the path went off says nothing new. */
	if (!path || established_ns < path->off_until_ns)
		return;
	path_age(path, now);
	if (key->role == WB_ROLE_CLIENT) {
		if (established_ns < path->counted_ns + WB_PATH_BURST_NS)
			return;
		path->counted_ns = established_ns;
		path->lost += path_bits(path);
	} else {
		path->lost += WB_PATH_ANSWER_BITS;
	}
	path->reason = reason;
	if (path->lost < WB_PATH_OFF)
		return;
	if (key->role == WB_ROLE_CLIENT && !path->control_passed) {
		path->lost = WB_PATH_OFF;
		return;
	}
	path_switch_off(path, now, cfg);
}

/* The peer says that the option did not arrive with the segment that carried it. */
static __always_inline void path_stripped(struct wb_path_key *key, u64 established_ns,
					  struct wb_connection_config *cfg)
{
	struct wb_path *path = path_of(key);
	u64 now = bpf_ktime_get_ns();

	count(WB_COUNT_PATH_FAILURES);
	if (!path || established_ns < path->off_until_ns)
		return;
	path_age(path, now);
	path->reason = WB_PATH_STRIPPED;
	path->stripped += WB_PATH_STRIPPED_BITS;
	if (path->stripped >= WB_PATH_OFF)
		path_switch_off(path, now, cfg);
}

static __always_inline void path_passed(struct wb_path_key *key)
{
	struct wb_path *path = bpf_map_lookup_elem(&paths, key);

	if (path)
		path->lost = less(path->lost, 1);
}

/* What became of a connection without the option while the path was on trial. */
static __always_inline void path_control(struct wb_path_key *key, bool passed)
{
	struct wb_path *path = bpf_map_lookup_elem(&paths, key);

	if (!path)
		return;
	path->control_passed = passed;
	if (!passed)
		path->lost = 0;
}

/* Whether a connection whose handshake is done may carry the option. */
static __always_inline u32 path_verdict(struct wb_path_key *key, bool repeated)
{
	struct wb_path *path = bpf_map_lookup_elem(&paths, key);
	u64 now = bpf_ktime_get_ns();

	if (!path)
		return WB_PATH_VERDICT_TRACK;
	path->handshakes++;
	path->repeated += repeated;
	if (path->handshakes >= WB_PATH_HANDSHAKES) {
		path->handshakes /= 2;
		path->repeated /= 2;
	}
	if (now < path->off_until_ns)
		return WB_PATH_VERDICT_OFF;
	path_age(path, now);
	path->stripped = less(path->stripped, 1);
	if (key->role == WB_ROLE_SERVER) {
		if (now < path->counted_ns + WB_PATH_BURST_NS)
			return WB_PATH_VERDICT_WRITE;
		path->counted_ns = now;
		path->lost = less(path->lost, WB_PATH_ANSWER_COST);
		return WB_PATH_VERDICT_TRACK;
	}
	if (path->lost < WB_PATH_TRIAL)
		return WB_PATH_VERDICT_TRACK;
	path->turn++;
	if (path->turn % 2 || now < path->probed_ns + WB_PATH_BURST_NS)
		return WB_PATH_VERDICT_CONTROL;
	path->probed_ns = now;
	return WB_PATH_VERDICT_TRACK;
}

/* The peer's option arrived. */
static __always_inline void path_arrived(struct wb_path_key *key)
{
	struct wb_path *path = bpf_map_lookup_elem(&paths, key);

	if (path && path->arrived < WB_PATH_ARRIVED_MAX)
		path->arrived++;
}

/*
 * Data without an option ended a handshake, so the peer's ACK is missing. True when others of the
 * peer's options arrive: then this one was lost or overtaken.
 */
static __always_inline bool path_lets_in(struct wb_path_key *key)
{
	struct wb_path *path = path_of(key);

	if (!path)
		return 0;
	bool usual = path->arrived >= WB_PATH_ARRIVED_MIN;

	path->arrived = less(path->arrived, WB_PATH_MISSING_COST);
	return usual;
}

#endif /* WB_PATH_BPF_H */
