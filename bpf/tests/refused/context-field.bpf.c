// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A field that came after the kernel claimed. */
#include "floor.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("tc")
int subject(struct __sk_buff *skb)
{
	u32 value;

#ifdef TWIN
	asm volatile("%0 = *(u32 *)(%1 + 0x44)" : "=r"(value) : "r"(skb));
#else
	/* gso_segs, 5.1 */
	asm volatile("%0 = *(u32 *)(%1 + 0xa4)" : "=r"(value) : "r"(skb));
#endif
	return value == 7 ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}
