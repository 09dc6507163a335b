/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Tables of the connection family. */
#ifndef WB_MAPS_BPF_H
#define WB_MAPS_BPF_H

#include "abi.h"
#include "core/emit.bpf.h"

/* conn_config: one entry, written by the agent before it attaches anything and by orders later. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct wb_connection_config);
} conn_config SEC(".maps");

/*
 * connections: every watched connection, keyed by the address of its socket, which is unique on
 * the host (socket cookies are per namespace before 5.3). Entered at SYN_SENT, at the handshake's
 * end or by adoption; removed at CLOSE. LRU so that a missed CLOSE cannot fill it for good: what
 * it evicts is inserted - deleted - present, which the agent reports. Preallocated by its type.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536); /* replaced by limits.connections */
	__type(key, u64);
	__type(value, struct wb_connection);
} connections SEC(".maps");

/*
 * listeners: the process that called listen, by namespace and port: who owns an accepted
 * connection until accept tells better. LRU: an evicted listener costs a name, not a count.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct wb_listener_key);
	__type(value, struct wb_listener);
} listeners SEC(".maps");

/*
 * destinations: longest prefix decides; 1 = may be sent the option, 0 = may not (loopback inside
 * a wider prefix). Written by the agent at start, and when orders of the collector change it: room
 * for 1024 rules of the configuration and for those that orders make of them.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 2048);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct wb_prefix);
	__type(value, u32);
} destinations SEC(".maps");

/*
 * paths: what is known of the way to a peer. LRU: the worst an eviction can do is one more
 * attempt on a path that drops the option.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct wb_path_key);
	__type(value, struct wb_path);
} paths SEC(".maps");

/* keys: slot = epoch modulo 4. Written by the agent only. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, WB_KEY_SLOTS);
	__type(key, u32);
	__type(value, struct wb_key);
} keys SEC(".maps");

/* A byte for each slot, because a byte can be written without its neighbours. */
struct wb_waiting {
	u8 slot[WB_HANDSHAKE_SLOTS];
};

/*
 * waiting: which slots of handshakes are taken. Every packet that leaves looks here and nowhere
 * else, so it is small enough to stay in the cache.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct wb_waiting);
} waiting SEC(".maps");

/*
 * handshakes: segments that wait to be copied, slot = hash of the sequence number. A collision
 * overwrites (counted); whether a slot is still true is asked of the connection's entry.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, WB_HANDSHAKE_SLOTS);
	__type(key, u32);
	__type(value, struct wb_handshake);
} handshakes SEC(".maps");

/*
 * arrivals: options that filters read, until a connection asks for its own. LRU: options of
 * forwarded connections are never asked for.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct wb_arrival_key);
	__type(value, struct wb_arrival);
} arrivals SEC(".maps");

/* cloning: from a filter's run for the original to its run for the copy, on the same CPU. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct wb_cloning);
} cloning SEC(".maps");

/* heartbeat: CLOCK_MONOTONIC nanoseconds of the agent's last heartbeat; filters outlive it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} heartbeat SEC(".maps");

/* filling: how full the table of connections may be. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct wb_filling);
} filling SEC(".maps");

static __always_inline struct wb_connection_config *connection_config(void)
{
	u32 zero = 0;

	return bpf_map_lookup_elem(&conn_config, &zero);
}

static __always_inline u64 random_u64(void)
{
	return ((u64)bpf_get_prandom_u32() << 32) | bpf_get_prandom_u32();
}

static __always_inline void table_grew(void)
{
	u32 zero = 0;
	struct wb_filling *table = bpf_map_lookup_elem(&filling, &zero);
	struct wb_connection_config *cfg = connection_config();

	if (!table || !cfg)
		return;
	__sync_fetch_and_add(&table->entries, 1);
	if (cfg->late_below && table->entries >= cfg->late_below)
		table->was_near = 1;
}

/* True when a connection that is not in the table cannot have been evicted from it. */
static __always_inline bool table_had_room(struct wb_connection_config *cfg)
{
	u32 zero = 0;
	struct wb_filling *table = bpf_map_lookup_elem(&filling, &zero);

	return cfg->late_below && table && !table->was_near && table->entries < cfg->late_below;
}

/* The entry of a socket, made if it is not there. NULL when the table refuses (counted). */
static __always_inline struct wb_connection *connection_of(u64 key, u8 role)
{
	struct wb_connection *found = bpf_map_lookup_elem(&connections, &key);

	if (found)
		return found;
	struct wb_connection fresh = {};

	fresh.id = random_u64();
	fresh.start_ns = bpf_ktime_get_ns();
	fresh.role = role;
	if (bpf_map_update_elem(&connections, &key, &fresh, BPF_NOEXIST)) {
		count(WB_COUNT_CONNECTIONS_FAILED);
		return NULL;
	}
	count(WB_COUNT_CONNECTIONS_INSERTED);
	table_grew();
	return bpf_map_lookup_elem(&connections, &key);
}

/* Takes an entry out of the table; false when another did. */
static __always_inline bool remove_connection(u64 key)
{
	u32 zero = 0;
	struct wb_filling *table = bpf_map_lookup_elem(&filling, &zero);

	if (bpf_map_delete_elem(&connections, &key))
		return 0;
	count(WB_COUNT_CONNECTIONS_DELETED);
	if (table)
		__sync_fetch_and_add(&table->entries, -1);
	return 1;
}

#endif /* WB_MAPS_BPF_H */
