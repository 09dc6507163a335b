// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A field of the context by a pointer that was moved, as clang does when it merges two loads. */
#include "floor.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("tc")
int subject(struct __sk_buff *skb)
{
	u32 mark;

#ifdef TWIN
	asm volatile("%0 = *(u32 *)(%1 + 8)" : "=r"(mark) : "r"(skb));
#else
	asm volatile("r2 = %1; r2 += 8; %0 = *(u32 *)(r2 + 0)" : "=r"(mark) : "r"(skb) : "r2");
#endif
	return mark == 7 ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}
