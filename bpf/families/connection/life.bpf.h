/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the tables say of a connection, and what happens when the kernel did not tell its end:
 * a program is not run while it is running on the same CPU, and that is not rare where
 * tracepoints can be preempted.
 */
#ifndef WB_LIFE_BPF_H
#define WB_LIFE_BPF_H

#include "maps.bpf.h"
#include "sock.bpf.h"

struct wb_seen {
	u64 sock;
	u64 change; /* old and new state */
};

/* state_seen: the last change of state that one of its programs has handled on this CPU. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct wb_seen);
} state_seen SEC(".maps");

static __always_inline void state_is_seen(struct bpf_raw_tracepoint_args *ctx)
{
	u32 zero = 0;
	struct wb_seen *seen = bpf_map_lookup_elem(&state_seen, &zero);

	if (seen) {
		seen->sock = ctx->args[0];
		seen->change = ctx->args[1] << 32 | (u32)ctx->args[2];
	}
}

static __always_inline bool was_state_seen(struct bpf_raw_tracepoint_args *ctx)
{
	u32 zero = 0;
	struct wb_seen *seen = bpf_map_lookup_elem(&state_seen, &zero);

	return seen && seen->sock == ctx->args[0] &&
	       seen->change == (ctx->args[1] << 32 | (u32)ctx->args[2]);
}

static __always_inline void emit_connection(void *ctx, struct wb_connection_record *record)
{
	emit(ctx, &record->header, WB_FAMILY_CONNECTION, WB_RECORD_CONNECTION, sizeof(*record));
}

/* The same through an iterator: to whoever reads it, past the ring. */
static __always_inline void show_connection(struct bpf_iter_meta *meta,
					    struct wb_connection_record *record)
{
	begin_record(&record->header, WB_FAMILY_CONNECTION, WB_RECORD_CONNECTION, sizeof(*record));
	bpf_seq_write(meta->seq, record, sizeof(*record));
}

/* What is known without the socket. */
static __always_inline void fill_identity(struct wb_connection_record *record,
					  struct wb_connection *conn)
{
	record->id = conn->id;
	record->start_ns = conn->start_ns;
	record->established_ns = conn->established_ns;
	record->token_sent = conn->token_sent;
	record->token_received = conn->token_received;
	record->process = conn->process;
	record->first_sent = conn->first_sent;
	record->first_received = conn->first_received;
	record->flags = conn->flags | conn->cloned | (conn->accepted ? WB_FLAG_ACCEPTED : 0);
	record->role = conn->role;
}

/*
 * True when an entry is of the connection that the socket has now. sock_ops enters some before
 * their addresses are known, and at SYN_SENT the local port is not.
 */
static __always_inline bool is_connection_of(struct wb_connection *conn, struct wb_tuple *now)
{
	if (!conn->tuple.remote_port)
		return 1;
	return now->netns == conn->tuple.netns && now->remote_port == conn->tuple.remote_port &&
	       !__builtin_memcmp(now->remote, conn->tuple.remote, sizeof(now->remote)) &&
	       (!conn->tuple.local_port || now->local_port == conn->tuple.local_port);
}

/*
 * The socket's memory is another connection's by now, so this one's CLOSE was missed. It is
 * reported with what is known, that is, without its numbers.
 */
static __always_inline void give_up(void *ctx, u64 key, struct wb_connection *conn)
{
	struct wb_connection_record record = {};

	fill_identity(&record, conn);
	record.tuple = conn->tuple;
	record.what = WB_WHAT_STALE;
	record.state = TCP_CLOSE;
	if (remove_connection(key))
		emit_connection(ctx, &record);
}

/* The entry of the connection that the socket has now, or NULL: what another one left is given up. */
static __always_inline struct wb_connection *own_entry(void *ctx, struct sock *sk)
{
	u64 key = (u64)sk;
	struct wb_connection *conn = bpf_map_lookup_elem(&connections, &key);
	struct wb_tuple now = {};

	if (!conn)
		return NULL;
	sock_tuple(sk, &now);
	if (is_connection_of(conn, &now))
		return conn;
	give_up(ctx, key, conn);
	return NULL;
}

#endif /* WB_LIFE_BPF_H */
