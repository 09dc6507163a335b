/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a TCP socket has counted, and what its numbers tell. Reads only. */
#ifndef WB_CONNECTION_SOCK_BPF_H
#define WB_CONNECTION_SOCK_BPF_H

#include "abi.h"
#include "core/compat.bpf.h"
#include "core/sock.bpf.h"

/*
 * The sequence numbers of both first bytes, which no NAT changes: at ESTABLISHED, and there only,
 * they are what comes next. (With TCP Fast Open data may have gone before: its connections are
 * named differently by their two ends, and so not joined by these numbers.)
 */
static __always_inline void sock_first(struct sock *sk, struct wb_connection *conn)
{
	struct tcp_sock *tp = (struct tcp_sock *)sk;

	conn->first_sent = __builtin_bswap32(BPF_CORE_READ(tp, snd_nxt));
	conn->first_received = __builtin_bswap32(BPF_CORE_READ(tp, rcv_nxt));
}

/*
 * The same of a connection that has lived: what was acknowledged and received is taken off again,
 * and for the side that connected one for its SYN (see sock_acked). Both pairs of counters count a
 * FIN alike, so it takes itself off. A pack made for older programs may not know snd_una.
 */
static __always_inline void sock_first_of_old(struct sock *sk, struct wb_connection *conn)
{
	struct tcp_sock *tp = (struct tcp_sock *)sk;

	if (!bpf_core_field_exists(tp->snd_una))
		return;
	u32 sent = BPF_CORE_READ(tp, snd_una) - (u32)BPF_CORE_READ(tp, bytes_acked);
	u32 received = BPF_CORE_READ(tp, rcv_nxt) - (u32)BPF_CORE_READ(tp, bytes_received);

	if (conn->role == WB_ROLE_CLIENT)
		sent++;
	conn->first_sent = __builtin_bswap32(sent);
	conn->first_received = __builtin_bswap32(received);
}

/*
 * Payload that the peer has acknowledged, for kernels that do not count what was sent (before
 * 4.19). bytes_acked has one for the SYN of a socket that connects, as tcp_ack() sees it, and one
 * for a FIN. The state is that before the change that is being told.
 */
static __always_inline u64 sock_acked(struct tcp_sock *tp, u8 role, u8 state)
{
	u64 acked = BPF_CORE_READ(tp, bytes_acked);
	u64 flags = role == WB_ROLE_CLIENT;

	if (state == TCP_FIN_WAIT2 || state == TCP_LAST_ACK || state == TCP_CLOSING)
		flags++;
	return acked > flags ? acked - flags : 0;
}

/*
 * Fills the numbers, and returns flags for those that the kernel does not count. bytes_sent counts retransmissions and bytes_received counts the FIN, so
 * both are corrected here to payload: tcp_data_queue() adds the FIN's sequence number, and
 * tcp_fin() is the only place that sets SOCK_DONE on a TCP socket (net/ipv4/tcp_input.c).
 */
static __always_inline u32 sock_numbers(struct sock *sk, struct wb_numbers *numbers, u8 role)
{
	u32 absent = 0;
	struct tcp_sock *tp = (struct tcp_sock *)sk;
	u64 flags = BPF_CORE_READ(sk, __sk_common.skc_flags);
	u64 done = 1ULL << bpf_core_enum_value(enum sock_flags, SOCK_DONE);

	numbers->bytes_received = BPF_CORE_READ(tp, bytes_received);
	if (numbers->bytes_received && (flags & done))
		numbers->bytes_received--;
	if (bpf_core_field_exists(tp->bytes_sent))
		numbers->bytes_sent =
			BPF_CORE_READ(tp, bytes_sent) - BPF_CORE_READ(tp, bytes_retrans);
	else
		numbers->bytes_sent =
			sock_acked(tp, role, BPF_CORE_READ(sk, __sk_common.skc_state));
	numbers->segments_sent = BPF_CORE_READ(tp, segs_out);
	numbers->segments_received = BPF_CORE_READ(tp, segs_in);
	numbers->retransmits = BPF_CORE_READ(tp, total_retrans);
	numbers->out_of_order = 0;
	if (bpf_core_field_exists(tp->rcv_ooopack))
		numbers->out_of_order = BPF_CORE_READ(tp, rcv_ooopack);
	else
		absent |= WB_FLAG_NO_OUT_OF_ORDER;
	numbers->srtt_us = BPF_CORE_READ(tp, srtt_us) >> 3;
	numbers->min_rtt_us = BPF_CORE_READ(tp, rtt_min.s[0].v);
	/* ~0 is the kernel's "no sample yet", include/net/tcp.h tcp_min_rtt(). */
	if (numbers->min_rtt_us == ~0U)
		numbers->min_rtt_us = 0;
	numbers->error = BPF_CORE_READ(sk, sk_err);
	return absent;
}

/*
 * Whether the socket called connect(): 1 if it did, 0 if a listener made it, anything else where its
 * numbers do not tell. Who connects has its SYN among what was acknowledged, while a listener's
 * child begins behind its SYN-ACK (tcp_create_openreq_child()). Only for who has sent no FIN. Read
 * without the socket's lock, so numbers that change meanwhile do not fit together; kernels before
 * 4.19 do not count what was sent.
 */
static __always_inline u64 sock_connected(struct sock *sk)
{
	struct tcp_sock *tp = (struct tcp_sock *)sk;

	if (!bpf_core_field_exists(tp->bytes_sent) || !bpf_core_field_exists(tp->snd_una))
		return ~0ULL;
	u64 sent = BPF_CORE_READ(tp, bytes_sent) - BPF_CORE_READ(tp, bytes_retrans);
	u32 unacked = BPF_CORE_READ(tp, snd_nxt) - BPF_CORE_READ(tp, snd_una);

	return BPF_CORE_READ(tp, bytes_acked) + unacked - sent;
}

#endif /* WB_CONNECTION_SOCK_BPF_H */
