/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * TCP segments as packet filters see them: found by direct access, and a copy made a pure ACK with
 * one option more. For the verifiers of 4.14 and 4.19: no loop, no call, constant or loaded
 * offsets, nothing read that was not written.
 */
#ifndef WB_SEGMENT_BPF_H
#define WB_SEGMENT_BPF_H

#include "core/count.bpf.h"

#define WB_TCP_HEADER_MAX 60
#define WB_ETHERNET_HEADER 14
#define WB_RAW_IP 0

/* What the filters need of a TCP segment. Numbers in network byte order. */
struct wb_segment {
	u32 seq;
	u32 ack;
	u32 network; /* offset of the IP header */
	u32 transport; /* offset of the TCP header */
	u32 header; /* bytes of the TCP header */
	u32 payload;
	u8 flags;
	u8 is_v6;
};

/*
 * Finds IP and TCP header by direct access. IP options, extension headers and fragments are left
 * alone: TCP of this host makes none on a handshake. Every offset is a constant on its path.
 */
static __always_inline bool segment_of(struct __sk_buff *skb, u32 link, struct wb_segment *segment)
{
	u8 *data = (u8 *)(long)skb->data;
	u8 *end = (u8 *)(long)skb->data_end;
	u16 protocol = skb->protocol;

	segment->network = link;
	if (link) {
		if (data + WB_ETHERNET_HEADER > end)
			return 0;
		protocol = *(u16 *)(data + 12);
		if (protocol == ETH_P_8021Q_BE || protocol == ETH_P_8021AD_BE) {
			if (data + WB_ETHERNET_HEADER + 4 > end)
				return 0;
			protocol = *(u16 *)(data + 16);
			segment->network = WB_ETHERNET_HEADER + 4;
			if (protocol == ETH_P_8021Q_BE) {
				if (data + WB_ETHERNET_HEADER + 8 > end)
					return 0;
				protocol = *(u16 *)(data + 20);
				segment->network = WB_ETHERNET_HEADER + 8;
			}
		}
	}
	u8 *ip = data + segment->network;
	u8 *tcp;
	u32 length;

	if (protocol == ETH_P_IP_BE) {
		tcp = ip + 20;
		if (tcp + 20 > end)
			goto out_of_reach;
		/* 0x3fff: more fragments, or an offset. */
		if (ip[0] != 0x45 || ip[9] != IPPROTO_TCP ||
		    (*(u16 *)(ip + 6) & __builtin_bswap16(0x3fff)))
			return 0;
		segment->is_v6 = 0;
		segment->transport = segment->network + 20;
		length = __builtin_bswap16(*(u16 *)(ip + 2)) - 20;
	} else if (protocol == ETH_P_IPV6_BE) {
		tcp = ip + 40;
		if (tcp + 20 > end)
			goto out_of_reach;
		if (ip[6] != IPPROTO_TCP)
			return 0;
		segment->is_v6 = 1;
		segment->transport = segment->network + 40;
		length = __builtin_bswap16(*(u16 *)(ip + 4));
	} else {
		return 0;
	}
	segment->seq = *(u32 *)(tcp + 4);
	segment->ack = *(u32 *)(tcp + 8);
	segment->header = (tcp[12] >> 4) * 4;
	segment->flags = tcp[13];
	segment->payload = length - segment->header;
	return 1;

out_of_reach:
	/* A short packet is none of ours; a long one has its header in another page. */
	if (skb->len >= segment->network + 60)
		count(WB_COUNT_CLONE_NONLINEAR);
	return 0;
}

/* A plain store is split by clang, and the verifier refuses half of a field. */
static __always_inline void set_mark(struct __sk_buff *skb, u32 mark)
{
	asm volatile("*(u32 *)(%0 + 8) = %1" : : "r"(skb), "r"(mark) : "memory");
}

static __always_inline u16 fold_sum(u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

/* True when the device will complete the checksum: then a replacement without pseudo header does
 * nothing (inet_proto_csum_replace4). Leaves the sum spoilt: it is made anew. */
static __always_inline int sum_is_partial(struct __sk_buff *skb, u32 at)
{
	u16 before = 0;
	u16 after = 0;

	if (bpf_skb_load_bytes(skb, at, &before, 2) ||
	    bpf_l4_csum_replace(skb, at, 0, __builtin_bswap16(1), 2) ||
	    bpf_skb_load_bytes(skb, at, &after, 2))
		return -1;
	return before == after;
}

/* Sum of the pseudo header for a segment of `length` bytes; negative on failure. */
static __always_inline long pseudo_sum(struct __sk_buff *skb, struct wb_cloning *work, u32 length)
{
	u32 words[10] = {};

	if (work->is_v6) {
		if (bpf_skb_load_bytes(skb, work->network + 8, words, 32))
			return -1;
		words[8] = __builtin_bswap32(length);
		words[9] = __builtin_bswap32(IPPROTO_TCP);
	} else {
		if (bpf_skb_load_bytes(skb, work->network + 12, words, 8))
			return -1;
		words[2] = __builtin_bswap32(length);
		words[3] = __builtin_bswap32(IPPROTO_TCP);
	}
	return bpf_csum_diff(NULL, 0, words, sizeof(words), 0);
}

#define WB_LOAD_WORD(i)                                                                            \
	if ((i) * 4 < length && bpf_skb_load_bytes(skb, at + (i) * 4, &words[i], 4))               \
	return -1

/* Adds a TCP header of `length` bytes, 36 to 60, to `sum`; negative on failure. */
static __always_inline long header_sum(struct __sk_buff *skb, u32 at, u32 length, u32 sum)
{
	u32 words[15] = {};

	WB_LOAD_WORD(0);
	WB_LOAD_WORD(1);
	WB_LOAD_WORD(2);
	WB_LOAD_WORD(3);
	WB_LOAD_WORD(4);
	WB_LOAD_WORD(5);
	WB_LOAD_WORD(6);
	WB_LOAD_WORD(7);
	WB_LOAD_WORD(8);
	WB_LOAD_WORD(9);
	WB_LOAD_WORD(10);
	WB_LOAD_WORD(11);
	WB_LOAD_WORD(12);
	WB_LOAD_WORD(13);
	WB_LOAD_WORD(14);
	return bpf_csum_diff(NULL, 0, words, sizeof(words), sum);
}

/* Writes the new length into the IP header. */
static __always_inline long set_ip_length(struct __sk_buff *skb, struct wb_cloning *work,
					  u32 segment)
{
	u16 before = 0;
	u16 after = __builtin_bswap16(work->is_v6 ? segment : segment + 20);
	u32 at = work->network + (work->is_v6 ? 4 : 2);

	if (!work->is_v6 && (bpf_skb_load_bytes(skb, at, &before, 2) ||
			     bpf_l3_csum_replace(skb, work->network + 10, before, after, 2)))
		return -1;
	return bpf_skb_store_bytes(skb, at, &after, 2, 0);
}

/*
 * Makes the copy a pure ACK that ends with the option. bpf_skb_change_tail() gives it memory of
 * its own, so the original's bytes are never touched; what fails half-way never leaves.
 */
static __always_inline long make_copy(struct __sk_buff *skb, struct wb_cloning *work)
{
	u32 at = work->transport;
	u32 old = work->header;
	u32 length = old + WB_OPTION_LEN;
	u32 seq = 0;
	u16 zero = 0;
	u8 control[2];

	if (bpf_skb_load_bytes(skb, at + 4, &seq, 4) || seq != work->seq)
		return -1;
	int partial = sum_is_partial(skb, at + 16);

	if (partial < 0 || bpf_skb_change_tail(skb, at + length, 0))
		return -1;
	control[0] = (length / 4) << 4;
	control[1] = TCP_FLAG_ACK;
	if (bpf_skb_store_bytes(skb, at + old, work->option, WB_OPTION_LEN, 0) ||
	    bpf_skb_store_bytes(skb, at + 12, control, 2, 0) ||
	    bpf_skb_store_bytes(skb, at + 16, &zero, 2, 0) || set_ip_length(skb, work, length))
		return -1;
	long sum = pseudo_sum(skb, work, length);

	if (sum < 0)
		return -1;
	u16 check = fold_sum(sum);

	if (!partial) {
		sum = header_sum(skb, at, length, sum);
		if (sum < 0)
			return -1;
		check = ~fold_sum(sum);
	}
	return bpf_skb_store_bytes(skb, at + 16, &check, 2, 0);
}

#endif /* WB_SEGMENT_BPF_H */
