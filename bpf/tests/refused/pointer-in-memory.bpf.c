// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A value of a map that holds a pointer. */
#include "floor.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

WB_TABLE(pairs, BPF_MAP_TYPE_HASH, u32, struct wb_pair);

SEC("tc")
int subject(struct __sk_buff *skb)
{
	struct wb_pair pair = {};
	u32 key = skb->hash;

#ifdef TWIN
	pair.sock = skb->mark;
#else
	pair.sock = (u64)skb;
#endif
	bpf_map_update_elem(&pairs, &key, &pair, BPF_ANY);
	return TC_ACT_UNSPEC;
}
