// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A key that stands in a value of another map. */
#include "floor.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

WB_TABLE(pairs, BPF_MAP_TYPE_HASH, struct wb_pair, struct wb_pair);
WB_TABLE(rows, BPF_MAP_TYPE_ARRAY, u32, struct wb_pair);

SEC("tc")
int subject(struct __sk_buff *skb)
{
	u32 zero = 0;
	struct wb_pair *row = bpf_map_lookup_elem(&rows, &zero);

	(void)skb;
	if (!row)
		return TC_ACT_UNSPEC;
#ifdef TWIN
	struct wb_pair key = *row;

	return bpf_map_lookup_elem(&pairs, &key) ? TC_ACT_SHOT : TC_ACT_UNSPEC;
#else
	return bpf_map_lookup_elem(&pairs, row) ? TC_ACT_SHOT : TC_ACT_UNSPEC;
#endif
}
