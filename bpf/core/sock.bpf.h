/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a socket is, and its two ends. Reads only. */
#ifndef WB_SOCK_BPF_H
#define WB_SOCK_BPF_H

#include "abi.h"
#include "compat.bpf.h"

static __always_inline void map_ipv4(u8 *out, u32 addr)
{
	__builtin_memset(out, 0, 10);
	out[10] = 0xff;
	out[11] = 0xff;
	__builtin_memcpy(out + 12, &addr, 4);
}

/* Fills the tuple; an IPv4 socket gives IPv4-mapped addresses, as a dual-stack one does itself. */
static __always_inline void sock_tuple(struct sock *sk, struct wb_tuple *tuple)
{
	/* The second question is for kernels without IPv6. */
	if (BPF_CORE_READ(sk, __sk_common.skc_family) == AF_INET6 &&
	    bpf_core_field_exists(sk->__sk_common.skc_v6_daddr)) {
		BPF_CORE_READ_INTO(&tuple->local, sk, __sk_common.skc_v6_rcv_saddr);
		BPF_CORE_READ_INTO(&tuple->remote, sk, __sk_common.skc_v6_daddr);
	} else {
		map_ipv4(tuple->local, BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr));
		map_ipv4(tuple->remote, BPF_CORE_READ(sk, __sk_common.skc_daddr));
	}
	tuple->local_port = BPF_CORE_READ(sk, __sk_common.skc_num);
	/* On the way to CLOSE inet_put_port() has cleared skc_num; inet_sport still has it. */
	if (!tuple->local_port) {
		struct tcp_sock *tp = (struct tcp_sock *)sk;

		tuple->local_port =
			__builtin_bswap16(BPF_CORE_READ(tp, inet_conn.icsk_inet.inet_sport));
	}
	tuple->remote_port = __builtin_bswap16(BPF_CORE_READ(sk, __sk_common.skc_dport));
	tuple->netns = sock_netns(sk);
}

static __always_inline bool sock_is_tcp(struct sock *sk)
{
	u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);

	return (family == AF_INET || family == AF_INET6) && sock_protocol(sk) == IPPROTO_TCP;
}

#endif /* WB_SOCK_BPF_H */
