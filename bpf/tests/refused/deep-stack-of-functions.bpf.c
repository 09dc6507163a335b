// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Two frames that fit each on its own, and not together. */
#include "floor.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#ifdef TWIN
#define PLACE "160"
#else
#define PLACE "320"
#endif

static __noinline int below(u32 mark)
{
	asm volatile("*(u64 *)(r10 - " PLACE ") = %0" : : "r"((u64)mark) : "memory");
	return mark + 1;
}

SEC("tc")
int subject(struct __sk_buff *skb)
{
	asm volatile("*(u64 *)(r10 - " PLACE ") = %0" : : "r"((u64)skb->mark) : "memory");
	return below(skb->mark) == 7 ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}
