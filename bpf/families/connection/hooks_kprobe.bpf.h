/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Where family `connection` hangs on kernels before 4.16, which have neither the tracepoint nor raw
 * ones: probes at the entry of functions that were there in 3.10 and are there today.
 *
 * The kernel runs no probe's program while another one runs on the same CPU (trace_call_bpf), and
 * does not count that. A missed end is noticed when the socket's memory is used again.
 */
#ifndef WB_HOOKS_KPROBE_BPF_H
#define WB_HOOKS_KPROBE_BPF_H

#include "core/registers.h"

/* void tcp_set_state(struct sock *sk, int state), net/ipv4/tcp.c: before the state is stored. */
SEC("kprobe/tcp_set_state")
int wb_conn_state(struct wb_registers *ctx)
{
	struct sock *sk = (struct sock *)ctx->first;

	on_state(ctx, sk, BPF_CORE_READ(sk, __sk_common.skc_state), (int)ctx->second, 0);
	return 0;
}

/*
 * int inet_csk_listen_start(struct sock *sk, ...), net/ipv4/inet_connection_sock.c: it stores the
 * state LISTEN by itself. A listener that leaves its port to the kernel has none yet, and its
 * connections belong to whoever accepts them.
 */
SEC("kprobe/inet_csk_listen_start")
int wb_conn_listening(struct wb_registers *ctx)
{
	struct sock *sk = (struct sock *)ctx->first;

	if (sock_is_tcp(sk) && sock_in_scope(sk))
		remember_listener(sk, (struct task_struct *)bpf_get_current_task(), BPF_ANY);
	return 0;
}

/* void tcp_reset(struct sock *sk, ...), net/ipv4/tcp_input.c: before the socket goes to CLOSE. */
SEC("kprobe/tcp_reset")
int wb_conn_rst_in(struct wb_registers *ctx)
{
	mark(ctx->first, WB_FLAG_RESET_RECEIVED);
	return 0;
}

/* void tcp_send_active_reset(struct sock *sk, ...), net/ipv4/tcp_output.c. */
SEC("kprobe/tcp_send_active_reset")
int wb_conn_rst_out(struct wb_registers *ctx)
{
	mark(ctx->first, WB_FLAG_RESET_SENT);
	return 0;
}

#endif /* WB_HOOKS_KPROBE_BPF_H */
