// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* An index that is also a key: a helper read it on the stack between the mask and its use. */
#include "floor.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

WB_TABLE(pairs, BPF_MAP_TYPE_HASH, u32, struct wb_pair);
WB_TABLE(rows, BPF_MAP_TYPE_ARRAY, u32, struct wb_row);

SEC("tc")
int subject(struct __sk_buff *skb)
{
	u32 zero = 0;
	u32 index = skb->hash & 0x3f;

	if (!bpf_map_lookup_elem(&pairs, &index))
		return TC_ACT_UNSPEC;
	struct wb_row *row = bpf_map_lookup_elem(&rows, &zero);

	if (!row)
		return TC_ACT_UNSPEC;
	u64 at = index;

#ifdef TWIN
	asm volatile("%0 &= 0x3f" : "+r"(at));
#endif
	return row->slot[at] ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}
