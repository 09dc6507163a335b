// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* More stack than there is. */
#include "floor.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("tc")
int subject(struct __sk_buff *skb)
{
#ifdef TWIN
	asm volatile("*(u64 *)(r10 - 512) = %0" : : "r"((u64)skb->mark) : "memory");
#else
	asm volatile("*(u64 *)(r10 - 520) = %0" : : "r"((u64)skb->mark) : "memory");
#endif
	return TC_ACT_UNSPEC;
}
