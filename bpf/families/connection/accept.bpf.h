/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Who accepts a connection. It belongs to the process that listens until somebody shows that it is
 * his: by accepting it, or where that cannot be probed by reading from it first, or by closing it.
 * Never by tracepoints of system calls: the first one makes every call of every process slower.
 */
#ifndef WB_ACCEPT_BPF_H
#define WB_ACCEPT_BPF_H

#include "core/registers.h"
#include "core/task.bpf.h"
#include "maps.bpf.h"
#include "sock.bpf.h"

/*
 * The current task is the owner of an accepted connection from now on. Kernel threads own nothing,
 * and a process that is ending has no name any more.
 */
static __always_inline void take_over(struct wb_connection *conn)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();

	if (conn->role != WB_ROLE_SERVER || conn->accepted || conn->flags & WB_FLAG_ADOPTED ||
	    !BPF_CORE_READ(task, mm))
		return;
	task_process(task, &conn->process);
	conn->accepted = 1;
}

/*
 * void security_sock_graft(struct sock *sk, struct socket *parent), security/security.c: accept()
 * calls it with the accepted socket. At the entry of inet_csk_accept() there is none yet, and a probe
 * of its return misses whoever waited in it before the agent came and, beyond some (maxactive of
 * register_kretprobe()), whoever waits beside others.
 */
SEC("kprobe/security_sock_graft")
int wb_conn_accept(struct wb_registers *ctx)
{
	u64 key = ctx->first;
	struct wb_connection *conn = bpf_map_lookup_elem(&connections, &key);

	if (conn)
		take_over(conn);
	return 0;
}

#ifndef WB_HOOKS_KPROBE

/* A power of two: connections that nobody has read from yet are few. */
#define WB_AWAITING_BITS 13

/*
 * awaiting: accepted connections that nobody has read from, slot = hash of the socket's address.
 * Every read of the host looks here and mostly nowhere else, so it is small. Two that share a slot
 * cost the older one this way to its owner.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1 << WB_AWAITING_BITS);
	__type(key, u32);
	__type(value, u64);
} awaiting SEC(".maps");

static __always_inline u64 *awaiting_of(u64 sock)
{
	/* Fibonacci hashing: the upper bits of the product are the good ones. */
	u32 slot = (u32)(((sock >> 6) * 0x9e3779b97f4a7c15ULL) >> (64 - WB_AWAITING_BITS));

	return bpf_map_lookup_elem(&awaiting, &slot);
}

static __always_inline void await_owner(u64 sock)
{
	u64 *slot = awaiting_of(sock);

	if (slot)
		*slot = sock;
}

/*
 * True when the socket's lock is a task's, which is then the current one: softirqs leave a socket
 * that is owned to its owner (sk_add_backlog()). A pack made for older programs may not know it.
 */
static __always_inline bool is_held_by_task(struct sock *sk)
{
	return bpf_core_field_exists(sk->sk_lock.owned) && BPF_CORE_READ(sk, sk_lock.owned);
}

/*
 * tcp:tcp_rcv_space_adjust, since 4.18 (commit 6163849d289b): in the context of the reader, under
 * the socket's lock, whenever data was taken. The kernel's own readers (TLS, NVMe) may be softirqs.
 */
SEC("raw_tp/tcp_rcv_space_adjust")
int wb_conn_reader(struct bpf_raw_tracepoint_args *ctx)
{
	u64 key = ctx->args[0];
	u64 *slot = awaiting_of(key);

	if (!slot || *slot != key || !is_held_by_task((struct sock *)key))
		return 0;
	*slot = 0;
	struct wb_connection *conn = bpf_map_lookup_elem(&connections, &key);

	if (conn)
		take_over(conn);
	return 0;
}

/*
 * A connection that was neither seen accepted nor read is its closer's. close() and shutdown() hold
 * the socket's lock, and change its state before they note an error; a reset that came while a task
 * held the lock has noted one. What is closed together with its listener, because nobody accepted
 * it, is held by no task (inet_csk_listen_stop()).
 */
static __always_inline void ask_closer(struct sock *sk, struct wb_connection *conn)
{
	if (!conn->accepted && is_held_by_task(sk) && !BPF_CORE_READ(sk, sk_err))
		take_over(conn);
}

#else

static __always_inline void await_owner(u64 sock)
{
	(void)sock;
}

static __always_inline void ask_closer(struct sock *sk, struct wb_connection *conn)
{
	(void)sk;
	(void)conn;
}

#endif /* WB_HOOKS_KPROBE */

#endif /* WB_ACCEPT_BPF_H */
