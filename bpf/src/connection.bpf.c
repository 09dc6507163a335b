// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Family `connection`: the life of every TCP connection, and the waybill on its handshake.
 *
 * Life comes from raw tracepoints, which exist on every kernel with BPF tracing since 4.17 and
 * cost about half of the sock_ops callbacks. sock_ops only writes and reads the option.
 */
#include "abi.h"
#include "compat.bpf.h"
#include "emit.bpf.h"
#include "life.bpf.h"
#include "maps.bpf.h"
#include "sock.bpf.h"

#include "option_clone.bpf.h"
#include "option_sockops.bpf.h"

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
	sock_numbers(sk, &record->numbers);
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
static __always_inline void ask_listener(struct wb_connection *conn, struct wb_config *cfg)
{
	struct wb_listener_key key = {};

	key.netns = conn->tuple.netns;
	key.port = conn->tuple.local_port;
	struct wb_listener *listener = bpf_map_lookup_elem(&listeners, &key);

	if (listener) {
		conn->process = listener->process;
		conn->flags |= WB_FLAG_LISTENER;
	}
	if (!(conn->flags & WB_FLAG_ACK_MISSING) || (listener && listener_defers(listener)))
		return;
	struct wb_path_key path = {};

	__builtin_memcpy(path.addr, conn->tuple.remote, sizeof(path.addr));
	path.netns = conn->tuple.netns;
	path_suspected(&path, WB_PATH_ACK_MISSING, cfg);
	conn->write_state = WB_WRITE_OFF;
}

static __always_inline void remember_listener(struct sock *sk, struct task_struct *task, u64 how)
{
	struct wb_listener_key key = {};
	struct wb_listener listener = {};

	key.netns = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
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
					   struct wb_config *cfg)
{
	u64 key = (u64)sk;
	u8 role = old_state == TCP_SYN_SENT ? WB_ROLE_CLIENT : WB_ROLE_SERVER;
	struct wb_connection *conn = bpf_map_lookup_elem(&connections, &key);

	if (conn && conn->flags & WB_FLAG_ESTABLISHED) {
		if (is_connection_of(conn, sk))
			return;
		give_up(ctx, key, conn);
	}
	conn = connection_of(key, role);
	if (!conn)
		return;
	sock_tuple(sk, &conn->tuple);
	conn->established_ns = bpf_ktime_get_ns();
	conn->flags |= WB_FLAG_ESTABLISHED;
	if (role == WB_ROLE_SERVER)
		ask_listener(conn, cfg);
	if (cfg->clone)
		clone_established(sk, conn, cfg);
}

static __always_inline void on_close(void *ctx, struct sock *sk, int old_state,
				     struct wb_config *cfg)
{
	u64 key = (u64)sk;
	struct wb_connection *conn = bpf_map_lookup_elem(&connections, &key);

	if (!conn)
		return;
	struct wb_connection_record record = {};

	if (cfg->clone)
		clone_closed(key, conn);
	fill_record(&record, conn, sk);
	record.what = WB_WHAT_CLOSED;
	record.state = TCP_CLOSE;
	record.old_state = old_state;
	/* Whatever else ends was established, even if nobody saw that. */
	if (old_state != TCP_SYN_SENT && old_state != TCP_SYN_RECV)
		record.flags |= WB_FLAG_ESTABLISHED;
	/* tcp_close() and tcp_disconnect() send their reset only after this point. */
	if (aborts_from(old_state) && !record.numbers.error &&
	    !(record.flags & WB_FLAG_RESET_RECEIVED))
		record.flags |= WB_FLAG_RESET_SENT;
	/* Removed before it is sent: a snapshot that starts after the agent emptied the ring can
	 * then never show a connection whose end was already read. */
	if (!bpf_map_delete_elem(&connections, &key))
		count(WB_COUNT_CONNECTIONS_DELETED);
	emit(ctx, &record);
}

/*
 * sock:inet_sock_set_state, stable since 4.16 (commit 563e0bb0dc74). Runs under the socket lock,
 * in process context for connect and listen, mostly in softirq otherwise.
 */
static __always_inline void on_state(struct bpf_raw_tracepoint_args *ctx, bool again)
{
	struct sock *sk = (struct sock *)ctx->args[0];
	int old_state = (int)ctx->args[1];
	int new_state = (int)ctx->args[2];
	struct wb_config *cfg = configuration();

	if (!cfg || !sock_is_tcp(sk))
		return;
	if (new_state == TCP_CLOSE) {
		on_close(ctx, sk, old_state, cfg);
		return;
	}
	if (new_state != TCP_SYN_SENT && new_state != TCP_ESTABLISHED && new_state != TCP_LISTEN)
		return;
	if (!sock_in_scope(sk, cfg))
		return;
	if (new_state == TCP_LISTEN)
		remember_listener(sk, (struct task_struct *)bpf_get_current_task(), BPF_ANY);
	else if (new_state == TCP_SYN_SENT)
		on_connect(ctx, sk, again);
	else
		on_established(ctx, sk, old_state, cfg);
}

SEC("raw_tp/inet_sock_set_state")
int wb_conn_state(struct bpf_raw_tracepoint_args *ctx)
{
	state_is_seen(ctx);
	on_state(ctx, 0);
	return 0;
}

/*
 * The same for what the first one missed: the kernel does not run a program that is running on
 * this CPU already (__bpf_trace_run), be it interrupted by a softirq or, where tracepoints can be
 * preempted (7.0), scheduled away. Attached after it, so it runs right behind it, and common
 * changes of state cost it one look at what the first one has noted.
 */
SEC("raw_tp/inet_sock_set_state")
int wb_conn_state_again(struct bpf_raw_tracepoint_args *ctx)
{
	if (!was_state_seen(ctx)) {
		state_is_seen(ctx);
		on_state(ctx, 1);
	}
	return 0;
}

/* And what both missed: while one is scheduled away in the first, another can be in the second. */
SEC("raw_tp/inet_sock_set_state")
int wb_conn_state_third(struct bpf_raw_tracepoint_args *ctx)
{
	if (!was_state_seen(ctx))
		on_state(ctx, 1);
	return 0;
}

static __always_inline void mark(u64 key, u32 flag)
{
	struct wb_connection *conn = bpf_map_lookup_elem(&connections, &key);

	if (conn)
		conn->flags |= flag;
}

/* tcp:tcp_receive_reset runs before the socket goes to CLOSE, so the record still gets the mark. */
SEC("raw_tp/tcp_receive_reset")
int wb_conn_rst_in(struct bpf_raw_tracepoint_args *ctx)
{
	mark(ctx->args[0], WB_FLAG_RESET_RECEIVED);
	return 0;
}

/* tcp:tcp_send_reset; the socket is NULL for a refused port, which finds no entry. */
SEC("raw_tp/tcp_send_reset")
int wb_conn_rst_out(struct bpf_raw_tracepoint_args *ctx)
{
	mark(ctx->args[0], WB_FLAG_RESET_SENT);
	return 0;
}

/*
 * tcp:tcp_probe runs for each segment received in ESTABLISHED, so the common one must leave
 * after one read: the window field of its header.
 */
SEC("raw_tp/tcp_probe")
int wb_conn_window(struct bpf_raw_tracepoint_args *ctx)
{
	struct sk_buff *skb = (struct sk_buff *)ctx->args[1];
	struct tcphdr *header = (struct tcphdr *)BPF_CORE_READ(skb, data);
	u64 key = ctx->args[0];

	if (BPF_CORE_READ(header, window))
		return 0;
	struct wb_connection *conn = bpf_map_lookup_elem(&connections, &key);

	if (conn)
		conn->zero_windows++;
	return 0;
}

/* The socket behind a file descriptor of the current task, or NULL. */
static __always_inline struct sock *current_sock(long fd)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	struct fdtable *table = BPF_CORE_READ(task, files, fdt);
	struct file **slot = BPF_CORE_READ(table, fd);
	struct file *file = NULL;

	if (fd < 0 || fd >= BPF_CORE_READ(table, max_fds))
		return NULL;
	bpf_probe_read_kernel(&file, sizeof(file), slot + fd);
	struct socket *socket = BPF_CORE_READ(file, private_data);

	return BPF_CORE_READ(socket, sk);
}

static __always_inline int on_accept(struct wb_sys_exit *ctx)
{
	u64 key = (u64)current_sock(ctx->ret);
	struct wb_connection *conn = bpf_map_lookup_elem(&connections, &key);

	if (conn && !conn->accepted) {
		task_process((struct task_struct *)bpf_get_current_task(), &conn->process);
		conn->accepted = 1;
	}
	return 0;
}

/* The process that accepts is the owner: a listener may be inherited, or its opener gone. */
SEC("tp/syscalls/sys_exit_accept")
int wb_conn_accept(struct wb_sys_exit *ctx)
{
	return on_accept(ctx);
}

SEC("tp/syscalls/sys_exit_accept4")
int wb_conn_accept4(struct wb_sys_exit *ctx)
{
	return on_accept(ctx);
}

static __always_inline struct sock *file_sock(struct file *file)
{
	if ((BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT) != S_IFSOCK)
		return NULL;
	struct socket *socket = (struct socket *)BPF_CORE_READ(file, private_data);
	struct sock *sk = BPF_CORE_READ(socket, sk);

	return sk && sock_is_tcp(sk) ? sk : NULL;
}

/* First pass over every open file of the host: listeners and their owners. */
SEC("iter/task_file")
int wb_conn_listen(struct bpf_iter__task_file *ctx)
{
	struct file *file = ctx->file;
	struct task_struct *task = ctx->task;
	struct wb_config *cfg = configuration();

	if (!file || !task || !cfg)
		return 0;
	struct sock *sk = file_sock(file);

	if (!sk || BPF_CORE_READ(sk, __sk_common.skc_state) != TCP_LISTEN ||
	    !sock_in_scope(sk, cfg))
		return 0;
	/* The first holder wins: it is the oldest process, the one that the others come from. */
	remember_listener(sk, task, BPF_NOEXIST);
	return 0;
}

/*
 * Second pass: connections that existed before the agent. Entered with what they have counted so
 * far as the baseline, so that only what happens from now on is reported.
 */
SEC("iter/task_file")
int wb_conn_adopt(struct bpf_iter__task_file *ctx)
{
	struct file *file = ctx->file;
	struct task_struct *task = ctx->task;
	struct wb_config *cfg = configuration();

	if (!file || !task || !cfg)
		return 0;
	struct sock *sk = file_sock(file);

	if (!sk)
		return 0;
	u8 state = BPF_CORE_READ(sk, __sk_common.skc_state);

	if ((state != TCP_ESTABLISHED && state != TCP_CLOSE_WAIT) || !sock_in_scope(sk, cfg))
		return 0;
	u64 key = (u64)sk;

	if (bpf_map_lookup_elem(&connections, &key))
		return 0;
	struct wb_connection *conn = connection_of(key, WB_ROLE_CLIENT);

	if (!conn)
		return 0;
	sock_tuple(sk, &conn->tuple);
	struct wb_listener_key listener = {};

	listener.netns = conn->tuple.netns;
	listener.port = conn->tuple.local_port;
	if (bpf_map_lookup_elem(&listeners, &listener))
		conn->role = WB_ROLE_SERVER;
	task_process(task, &conn->process);
	conn->flags |= WB_FLAG_ADOPTED | WB_FLAG_ESTABLISHED;
	struct wb_connection_record record = {};

	fill_record(&record, conn, sk);
	record.what = WB_WHAT_ADOPTED;
	record.state = state;
	record.header.kind = WB_RECORD_CONNECTION;
	record.header.size = sizeof(record);
	record.header.ktime_ns = bpf_ktime_get_ns();
	bpf_seq_write(ctx->meta->seq, &record, sizeof(record));
	return 0;
}

/*
 * Snapshot of the table: numbers of the connections that are open now. The socket is read by
 * address without a reference; struct sock memory of TCP is type-stable (SLAB_TYPESAFE_BY_RCU),
 * and the tuple tells whether it still is the same connection.
 */
SEC("iter/bpf_map_elem")
int wb_conn_live(struct bpf_iter__bpf_map_elem *ctx)
{
	u64 *key = ctx->key;
	struct wb_connection *value = ctx->value;

	if (!key || !value)
		return 0;
	struct sock *sk = (struct sock *)*key;
	struct wb_connection conn = *value;
	struct wb_connection_record record = {};
	u64 sock = *key;

	clone_peek(&conn);

	fill_record(&record, &conn, sk);
	record.state = BPF_CORE_READ(sk, __sk_common.skc_state);
	record.what = WB_WHAT_LIVE;
	if ((conn.flags & WB_FLAG_ESTABLISHED) &&
	    (record.tuple.local_port != conn.tuple.local_port ||
	     record.tuple.remote_port != conn.tuple.remote_port || record.state == TCP_CLOSE))
		record.what = WB_WHAT_STALE;
	/* Told once; one that is closing just now is told by its close. */
	if (record.what == WB_WHAT_STALE) {
		if (bpf_map_delete_elem(&connections, &sock))
			return 0;
		count(WB_COUNT_CONNECTIONS_DELETED);
		record.tuple = conn.tuple;
		__builtin_memset(&record.numbers, 0, sizeof(record.numbers));
	}
	record.header.kind = WB_RECORD_CONNECTION;
	record.header.size = sizeof(record);
	record.header.ktime_ns = bpf_ktime_get_ns();
	bpf_seq_write(ctx->meta->seq, &record, sizeof(record));
	return 0;
}
