// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A variable with a value at start. */
#include "floor.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#ifdef TWIN
WB_TABLE(limits, BPF_MAP_TYPE_ARRAY, u32, u32);
#else
volatile u32 limit = 5;
#endif

SEC("tc")
int subject(struct __sk_buff *skb)
{
#ifdef TWIN
	u32 zero = 0;
	u32 *limit = bpf_map_lookup_elem(&limits, &zero);

	return limit && skb->hash > *limit ? TC_ACT_SHOT : TC_ACT_UNSPEC;
#else
	return skb->hash > limit ? TC_ACT_SHOT : TC_ACT_UNSPEC;
#endif
}
