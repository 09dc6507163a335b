/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Where family `connection` hangs on kernels since 4.17: raw tracepoints, and for what is open
 * already iterators (5.8).
 */
#ifndef WB_HOOKS_RAW_BPF_H
#define WB_HOOKS_RAW_BPF_H

/*
 * sock:inet_sock_set_state, stable since 4.16 (commit 563e0bb0dc74). Runs in process context for
 * connect and listen, mostly in softirq otherwise.
 */
static __always_inline void on_state_tracepoint(struct bpf_raw_tracepoint_args *ctx, bool again)
{
	on_state(ctx, (struct sock *)ctx->args[0], (int)ctx->args[1], (int)ctx->args[2], again);
}

SEC("raw_tp/inet_sock_set_state")
int wb_conn_state(struct bpf_raw_tracepoint_args *ctx)
{
	state_is_seen(ctx);
	on_state_tracepoint(ctx, 0);
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
		on_state_tracepoint(ctx, 1);
	}
	return 0;
}

/* And what both missed: while one is scheduled away in the first, another can be in the second. */
SEC("raw_tp/inet_sock_set_state")
int wb_conn_state_third(struct bpf_raw_tracepoint_args *ctx)
{
	if (!was_state_seen(ctx))
		on_state_tracepoint(ctx, 1);
	return 0;
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

	if (!file || !task)
		return 0;
	struct sock *sk = file_sock(file);

	if (!sk || BPF_CORE_READ(sk, __sk_common.skc_state) != TCP_LISTEN || !sock_in_scope(sk))
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

	if (!file || !task)
		return 0;
	struct sock *sk = file_sock(file);

	if (!sk)
		return 0;
	u8 state = BPF_CORE_READ(sk, __sk_common.skc_state);

	/* One that has sent its FIN may receive for as long as its peer likes. */
	if ((state != TCP_ESTABLISHED && state != TCP_CLOSE_WAIT && state != TCP_FIN_WAIT2) ||
	    !sock_in_scope(sk))
		return 0;
	u64 key = (u64)sk;

	if (bpf_map_lookup_elem(&connections, &key))
		return 0;
	struct wb_connection *conn = connection_of(key, WB_ROLE_CLIENT);

	if (!conn)
		return 0;
	struct wb_listener_key listener = {};

	sock_tuple(sk, &conn->tuple);
	listener.netns = conn->tuple.netns;
	listener.port = conn->tuple.local_port;
	/* In FIN_WAIT2 the FIN is acknowledged too. */
	u64 connected = sock_connected(sk) - (state == TCP_FIN_WAIT2);

	if (connected == 0 || (connected != 1 && bpf_map_lookup_elem(&listeners, &listener)))
		conn->role = WB_ROLE_SERVER;
	else if (connected != 1)
		conn->flags |= WB_FLAG_ROLE_UNKNOWN;
	sock_first_of_old(sk, conn);
	task_process(task, &conn->process);
	conn->flags |= WB_FLAG_ADOPTED | WB_FLAG_ESTABLISHED;
	struct wb_connection_record record = {};

	fill_record(&record, conn, sk);
	record.what = WB_WHAT_ADOPTED;
	record.state = state;
	show_connection(ctx->meta, &record);
	return 0;
}

/*
 * Snapshot of the table: numbers of the connections that are open now. The socket is read by
 * address without a reference; struct sock memory of TCP is type-stable (SLAB_TYPESAFE_BY_RCU),
 * and the tuple tells whether it still is the same connection. So does the entry: while it is
 * read, it may get to be of a younger connection, whose socket has the same address.
 */
SEC("iter/bpf_map_elem")
int wb_conn_live(struct bpf_iter__bpf_map_elem *ctx)
{
	u64 *key = ctx->key;
	struct wb_connection *conn = ctx->value;

	if (!key || !conn)
		return 0;
	u64 sock = *key;
	struct sock *sk = (struct sock *)sock;
	struct wb_connection_record record = {};

	fill_record(&record, conn, sk);
	clone_peek(&record, conn);
	record.state = BPF_CORE_READ(sk, __sk_common.skc_state);
	record.what = WB_WHAT_LIVE;
	if ((record.flags & WB_FLAG_ESTABLISHED) &&
	    (!is_connection_of(conn, &record.tuple) || record.state == TCP_CLOSE))
		record.what = WB_WHAT_STALE;
	struct wb_connection *still = bpf_map_lookup_elem(&connections, &sock);

	if (!still || still->id != record.id)
		return 0;
	/* Told once; one that is closing just now is told by its close. */
	if (record.what == WB_WHAT_STALE) {
		record.tuple = still->tuple;
		if (!remove_connection(sock))
			return 0;
		__builtin_memset(&record.numbers, 0, sizeof(record.numbers));
	}
	show_connection(ctx->meta, &record);
	return 0;
}

#endif /* WB_HOOKS_RAW_BPF_H */
