// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* An index that only bounds of 32-bit halves bound. */
#include "floor.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

WB_TABLE(rows, BPF_MAP_TYPE_ARRAY, u32, struct wb_row);

SEC("tc")
int subject(struct __sk_buff *skb)
{
	u32 zero = 0;
	struct wb_row *row = bpf_map_lookup_elem(&rows, &zero);

	if (!row)
		return TC_ACT_UNSPEC;
	u64 at = skb->hash;

#ifdef TWIN
	asm volatile("if %0 < 0x40 goto +1; %0 = 0" : "+r"(at));
#else
	/* Between 8 and 15, but the subtraction makes it wrap for who counts 64 bits only. */
	asm volatile("%0 &= 7; %0 -= 16; %0 += 24" : "+r"(at));
#endif
	return row->slot[at] ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}
