// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A key with a field that nobody set, in a function that was not inlined. */
#include "floor.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

WB_TABLE(pairs, BPF_MAP_TYPE_HASH, struct wb_pair, u64);

static __noinline int is_known(u32 seq, u32 ack)
{
	struct wb_pair key;

#ifdef TWIN
	__builtin_memset(&key, 0, sizeof(key));
#endif
	key.seq = seq;
	key.ack = ack;
	return bpf_map_lookup_elem(&pairs, &key) ? 1 : 0;
}

SEC("tc")
int subject(struct __sk_buff *skb)
{
	return is_known(skb->hash, skb->mark) ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}
