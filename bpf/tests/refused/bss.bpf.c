// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A counter in global memory. */
#include "floor.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#ifdef TWIN
WB_TABLE(counters, BPF_MAP_TYPE_PERCPU_ARRAY, u32, u64);
#else
u64 counter;
#endif

SEC("tc")
int subject(struct __sk_buff *skb)
{
	(void)skb;
#ifdef TWIN
	u32 zero = 0;
	u64 *counter = bpf_map_lookup_elem(&counters, &zero);

	if (counter)
		*counter += 1;
#else
	counter += 1;
#endif
	return TC_ACT_UNSPEC;
}
