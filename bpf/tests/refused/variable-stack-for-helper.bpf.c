// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A key on the stack, whose place is a number. */
#include "floor.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

WB_TABLE(rows, BPF_MAP_TYPE_HASH, u32, struct wb_row);

SEC("tc")
int subject(struct __sk_buff *skb)
{
	u32 keys[4] = {};

	keys[1] = skb->mark;
#ifdef TWIN
	u32 *key = &keys[1];
#else
	u32 *key = &keys[skb->hash & 3];
#endif

	return bpf_map_lookup_elem(&rows, key) ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}
