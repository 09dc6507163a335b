// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Family `listener`: who began to listen, and how many connections waited to be accepted.
 *
 * What listens, its limit, its queue and its drops the agent reads from sock_diag at the end of each
 * interval. Here is what no list shows: the process that called listen(2), and the longest queue
 * between two lists. No record leaves: the agent reads two tables.
 */
#include "core/abi.h"
#include "core/compat.bpf.h"
#include "core/count.bpf.h"
#include "core/scope.bpf.h"
#include "core/sock.bpf.h"
#include "core/task.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/*
 * holders: inode number of a listening socket to who called listen(2). A hash, so that none is
 * evicted while it listens; entries go when their socket stops listening. Full: the listener has no
 * process, which is counted.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, u64);
	__type(value, struct wb_process);
} holders SEC(".maps");

/*
 * queues: the most that waited at a local end since the agent looked last, which empties it. Full:
 * counted, and that end has no number.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct wb_tuple);
	__type(value, u32);
} queues SEC(".maps");

/* The number by which sock_diag and /proc/<pid>/fd name a socket; 0 for one of the kernel's own. */
static __always_inline u64 sock_inode(struct sock *sk)
{
	return BPF_CORE_READ(sk, sk_socket, file, f_inode, i_ino);
}

/* listen(2) runs in its caller's context. */
static __always_inline void on_listen(struct sock *sk)
{
	struct wb_process process = {};
	u64 inode = sock_inode(sk);

	if (!inode)
		return;
	task_process((struct task_struct *)bpf_get_current_task(), &process);
	if (bpf_map_update_elem(&holders, &inode, &process, BPF_ANY))
		count(WB_COUNT_LISTENERS_FULL);
}

static __always_inline void on_end(struct sock *sk)
{
	u64 inode = sock_inode(sk);

	bpf_map_delete_elem(&holders, &inode);
}

/*
 * A connection has been put into its listener's queue: tcp_check_req() adds the child before
 * tcp_rcv_state_process() makes it ESTABLISHED. The child is a copy of the listener, made by
 * sk_clone_lock() just before, which leaves sk_ack_backlog as it was: what waited, without the child.
 * So the listener need not be found, however many share its address.
 */
static __always_inline void on_arrival(struct sock *sk)
{
	struct wb_tuple key = {};
	u32 waiting = BPF_CORE_READ(sk, sk_ack_backlog) + 1;

	sock_tuple(sk, &key);
	__builtin_memset(key.remote, 0, sizeof(key.remote));
	key.remote_port = 0;
	u32 *most = bpf_map_lookup_elem(&queues, &key);

	if (!most) {
		if (!bpf_map_update_elem(&queues, &key, &waiting, BPF_NOEXIST))
			return;
		/* Another CPU may have been first. */
		most = bpf_map_lookup_elem(&queues, &key);
		if (!most) {
			count(WB_COUNT_QUEUES_FULL);
			return;
		}
	}
	if (*most < waiting)
		*most = waiting;
}

/*
 * sock:inet_sock_set_state, stable since 4.16 (commit 563e0bb0dc74). It runs a few times in the life
 * of a connection, and never for a packet; all but its passive begin leave after one comparison.
 */
SEC("raw_tp/inet_sock_set_state")
int wb_listener_state(struct bpf_raw_tracepoint_args *ctx)
{
	struct sock *sk = (struct sock *)ctx->args[0];
	int from = (int)ctx->args[1], to = (int)ctx->args[2];
	bool listens = to == TCP_LISTEN, ends = from == TCP_LISTEN && to == TCP_CLOSE;
	bool arrives = from == TCP_SYN_RECV && to == TCP_ESTABLISHED;

	if (!(listens || ends || arrives) || !sock_is_tcp(sk))
		return 0;
	if (ends)
		on_end(sk);
	else if (sock_in_scope(sk) && listens)
		on_listen(sk);
	else if (sock_in_scope(sk))
		on_arrival(sk);
	return 0;
}
