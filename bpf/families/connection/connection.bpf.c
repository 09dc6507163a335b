// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Family `connection`: the life of every TCP connection, and the waybill on its handshake.
 *
 * Life comes from raw tracepoints, which exist on every kernel with BPF tracing since 4.17 and
 * cost about half of the sock_ops callbacks, and with -DWB_HOOKS_KPROBE from probes at functions.
 * sock_ops only writes and reads the option.
 */
#include "abi.h"
#include "core/compat.bpf.h"
#include "core/emit.bpf.h"
#include "core/scope.bpf.h"
#include "core/task.bpf.h"
#include "life.bpf.h"
#include "maps.bpf.h"
#include "sock.bpf.h"

#include "accept.bpf.h"
#include "option_clone.bpf.h"
#ifndef WB_HOOKS_KPROBE
#include "option_sockops.bpf.h"
#endif

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* The states from which TCP goes to CLOSE without a FIN of its own only by an abort. */
static __always_inline bool aborts_from(u8 state)
{
	return state == TCP_ESTABLISHED || state == TCP_SYN_RECV || state == TCP_CLOSE_WAIT;
}

static __always_inline void fill_record(struct wb_connection_record *record,
					struct wb_connection *conn, struct sock *sk)
{
	fill_identity(record, conn);
	sock_tuple(sk, &record->tuple);
	record->flags |= sock_numbers(sk, &record->numbers, conn->role);
	record->numbers.zero_windows = conn->zero_windows;
}

/* True when the listener waits for data before it makes a connection (TCP_DEFER_ACCEPT). */
static __always_inline bool listener_defers(struct wb_listener *listener)
{
	struct tcp_sock *tp = (struct tcp_sock *)listener->sock;

	return BPF_CORE_READ(tp, inet_conn.icsk_accept_queue.rskq_defer_accept) != 0;
}

/*
 * What the listener tells about an accepted connection: its owner until accept tells better, and
 * whether a handshake that data completed is its own doing. If it is not, the peer's ACK was
 * lost, perhaps because it carried an option, and the peer is not answered. The accepted socket
 * cannot tell: inet_csk_clone_lock() clears its icsk_accept_queue.
 */
static __always_inline void ask_listener(struct wb_connection *conn)
{
	struct wb_listener_key key = {};

	key.netns = conn->tuple.netns;
	key.port = conn->tuple.local_port;
	struct wb_listener *listener = bpf_map_lookup_elem(&listeners, &key);

	/* Without one it waits all the same for who reads from it. */
	conn->flags |= WB_FLAG_LISTENER;
	if (listener)
		conn->process = listener->process;
	if (conn->write_state == WB_WRITE_IF_DEFERRED)
		conn->write_state =
			listener && listener_defers(listener) ? WB_WRITE_WANTED : WB_WRITE_OFF;
}

static __always_inline void remember_listener(struct sock *sk, struct task_struct *task, u64 how)
{
	struct wb_listener_key key = {};
	struct wb_listener listener = {};

	key.netns = sock_netns(sk);
	key.port = BPF_CORE_READ(sk, __sk_common.skc_num);
	listener.sock = (u64)sk;
	task_process(task, &listener.process);
	bpf_map_update_elem(&listeners, &key, &listener, how);
}

static __always_inline void on_connect(void *ctx, struct sock *sk, bool again)
{
	u64 key = (u64)sk;
	struct wb_connection *old = bpf_map_lookup_elem(&connections, &key);

	if (old) {
		/* Entered just now by the first program, though it seemed to be missed. */
		if (again && !(old->flags & WB_FLAG_ESTABLISHED))
			return;
		give_up(ctx, key, old);
	}
	struct wb_connection *conn = connection_of(key, WB_ROLE_CLIENT);

	if (conn) {
		/* connect() runs in the caller's context, so current is the owner. The port is
		 * not chosen yet: the tuple is read again at ESTABLISHED and at CLOSE. */
		task_process((struct task_struct *)bpf_get_current_task(), &conn->process);
		sock_tuple(sk, &conn->tuple);
	}
}

static __always_inline void on_established(void *ctx, struct sock *sk, int old_state,
					   struct wb_connection_config *cfg)
{
	struct wb_connection *conn = own_entry(ctx, sk);

	if (conn && conn->flags & WB_FLAG_ESTABLISHED)
		return;
	if (!conn)
		conn = connection_of((u64)sk,
				     old_state == TCP_SYN_SENT ? WB_ROLE_CLIENT : WB_ROLE_SERVER);
	if (!conn)
		return;
	/* Who called connect() is a client, also where both did and SYNs crossed (SYN_RECV). */
	u8 role = conn->role;

	sock_tuple(sk, &conn->tuple);
	conn->established_ns = bpf_ktime_get_ns();
	conn->flags |= WB_FLAG_ESTABLISHED;
	sock_first(sk, conn);
	if (role == WB_ROLE_SERVER) {
		ask_listener(conn);
		await_owner((u64)sk);
	}
	if (cfg->clone)
		clone_established(sk, conn, cfg);
}

/* True for the states in which a connection has sent no FIN yet. */
static __always_inline bool leaves_established(int state)
{
	return state == TCP_ESTABLISHED || state == TCP_CLOSE_WAIT;
}

/* True for the states of a connection that was established and is not gone. */
static __always_inline bool was_established(int state)
{
	return state != TCP_SYN_SENT && state != TCP_SYN_RECV && state != TCP_LISTEN &&
	       state != TCP_CLOSE && state != TCP_NEW_SYN_RECV;
}

/*
 * Only the object for kernels with ring buffers enters connections late: what was there before the
 * agent, all of these can list (both are of 5.8), and the verifiers of 4.14 and 4.19 would walk
 * twice as far for it.
 */
#ifdef WB_TRANSPORT_PERF
#define WB_ENTERS_LATE 0
#else
#define WB_ENTERS_LATE 1
#endif

/*
 * Makes good that ESTABLISHED was missed: the socket still has all that was counted since. Not
 * where the connection may be older than this agent, or may have been evicted. Its entry, or NULL.
 */
static __always_inline struct wb_connection *
established_late(struct sock *sk, struct wb_connection *conn, struct wb_connection_config *cfg)
{
	struct wb_listener_key at = {};
	bool fresh = !conn;

	if (fresh && !table_had_room(cfg))
		return NULL;
	if (fresh)
		conn = connection_of((u64)sk, WB_ROLE_CLIENT);
	if (!conn)
		return NULL;
	count(WB_COUNT_CONNECTIONS_LATE);
	sock_tuple(sk, &conn->tuple);
	conn->flags |= WB_FLAG_ESTABLISHED;
	at.netns = conn->tuple.netns;
	at.port = conn->tuple.local_port;
	struct wb_listener *listener = bpf_map_lookup_elem(&listeners, &at);

	u64 connected = fresh ? sock_connected(sk) : 1;

	if (connected == 0 || (connected != 1 && listener)) {
		conn->role = WB_ROLE_SERVER;
		await_owner((u64)sk);
		if (listener) {
			conn->process = listener->process;
			conn->flags |= WB_FLAG_LISTENER;
		}
	} else if (connected != 1) {
		conn->flags |= WB_FLAG_ROLE_UNKNOWN;
	}
	/* With these clone_closed() finds the option that came for it. */
	sock_first_of_old(sk, conn);
	return conn;
}

/*
 * ESTABLISHED is left, or the last of both FINs is sent: what began unseen is seen here, some packets
 * before it ends, and who sends the FIN may be the first to show that the connection is his. Whether
 * the entry is this connection's own is asked at CLOSE.
 */
static __always_inline void on_leaving(struct sock *sk, int new_state, bool again,
				       struct wb_connection_config *cfg)
{
	u64 key = (u64)sk;
	struct wb_connection *conn = bpf_map_lookup_elem(&connections, &key);

	if (WB_ENTERS_LATE && !again && new_state != TCP_LAST_ACK &&
	    (!conn || !(conn->flags & WB_FLAG_ESTABLISHED)))
		conn = established_late(sk, conn, cfg);
	if (conn && new_state != TCP_CLOSE_WAIT)
		ask_closer(sk, conn);
}

/*
 * The end of a connection that is not in the table. Where no iterator can enter those that were
 * there before the agent, it knows them by their tuples from diagnostic sockets.
 */
static __always_inline void on_unknown_close(void *ctx, struct sock *sk, int old_state,
					     struct wb_connection_config *cfg)
{
	struct wb_connection_record record = {};
	struct wb_listener_key key = {};

	if (!cfg->tell_unknown || !was_established(old_state))
		return;
	sock_tuple(sk, &record.tuple);
	key.netns = record.tuple.netns;
	key.port = record.tuple.local_port;
	struct wb_listener *listener = bpf_map_lookup_elem(&listeners, &key);

	if (listener) {
		record.role = WB_ROLE_SERVER;
		record.process = listener->process;
	}
	record.flags = sock_numbers(sk, &record.numbers, record.role);
	record.start_ns = bpf_ktime_get_ns();
	record.flags |= WB_FLAG_ESTABLISHED | WB_FLAG_ADOPTED;
	if (!listener)
		record.flags |= WB_FLAG_ROLE_UNKNOWN;
	record.what = WB_WHAT_CLOSED;
	record.state = TCP_CLOSE;
	record.old_state = old_state;
	emit_connection(ctx, &record);
}

static __always_inline void on_close(void *ctx, struct sock *sk, int old_state, bool again,
				     bool inside, struct wb_connection_config *cfg)
{
	u64 key = (u64)sk;
	struct wb_connection *conn = own_entry(ctx, sk);

	/* Once the first program has told an end, what is not in the table is not new; nor is what
	 * left ESTABLISHED before: on_leaving() would have entered it. */
	if (WB_ENTERS_LATE && !again && inside && leaves_established(old_state) &&
	    (!conn || !(conn->flags & WB_FLAG_ESTABLISHED)))
		conn = established_late(sk, conn, cfg);
	if (!conn) {
		if (inside)
			on_unknown_close(ctx, sk, old_state, cfg);
		return;
	}
	struct wb_connection_record record = {};

	if (aborts_from(old_state))
		ask_closer(sk, conn);
	if (cfg->clone)
		clone_closed(key, conn);
	else if (conn->write_state == WB_WRITE_WANTED && conn->flags & WB_FLAG_ESTABLISHED)
		count(WB_COUNT_OPTION_UNSENT);
	fill_record(&record, conn, sk);
	record.what = WB_WHAT_CLOSED;
	record.state = TCP_CLOSE;
	record.old_state = old_state;
	/* Whatever else ends was established, even if nobody saw that. */
	if (was_established(old_state))
		record.flags |= WB_FLAG_ESTABLISHED;
	/* tcp_close() and tcp_disconnect() send their reset only after this point. */
	if (aborts_from(old_state) && !record.numbers.error &&
	    !(record.flags & WB_FLAG_RESET_RECEIVED))
		record.flags |= WB_FLAG_RESET_SENT;
	/* Removed before it is sent: a snapshot that starts after the agent emptied the ring can
	 * then never show a connection whose end was already read. */
	remove_connection(key);
	emit_connection(ctx, &record);
}

/* A change of state of any socket, before or just after it is made. Runs under the socket's lock. */
static __always_inline void on_state(void *ctx, struct sock *sk, int old_state, int new_state,
				     bool again)
{
	struct wb_connection_config *cfg = connection_config();

	if (!cfg || new_state == TCP_SYN_RECV || !sock_is_tcp(sk))
		return;
	bool inside = sock_in_scope(sk);

	/* What left the scope after it was entered still has its end told. */
	if (!inside && (new_state != TCP_CLOSE || stays_in_cgroup()))
		return;
	if (new_state == TCP_CLOSE)
		on_close(ctx, sk, old_state, again, inside, cfg);
	else if (new_state == TCP_ESTABLISHED)
		on_established(ctx, sk, old_state, cfg);
	else if (new_state == TCP_FIN_WAIT1 || new_state == TCP_CLOSE_WAIT ||
		 new_state == TCP_LAST_ACK)
		on_leaving(sk, new_state, again, cfg);
	else if (new_state == TCP_SYN_SENT)
		on_connect(ctx, sk, again);
	else if (new_state == TCP_LISTEN)
		remember_listener(sk, (struct task_struct *)bpf_get_current_task(), BPF_ANY);
}

static __always_inline void mark(u64 key, u32 flag)
{
	struct wb_connection *conn = bpf_map_lookup_elem(&connections, &key);

	if (conn)
		conn->flags |= flag;
}

#ifdef WB_HOOKS_KPROBE
#include "hooks_kprobe.bpf.h"
#else
#include "hooks_raw.bpf.h"
#endif
