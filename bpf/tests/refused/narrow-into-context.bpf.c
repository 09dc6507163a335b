// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A plain store of the mark, of which clang keeps the half that changes. */
#include "floor.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("tc")
int subject(struct __sk_buff *skb)
{
	u32 mark = 0x57420000U | (skb->mark & 0xffff);

#ifdef TWIN
	asm volatile("*(u32 *)(%0 + 8) = %1" : : "r"(skb), "r"(mark) : "memory");
#else
	skb->mark = mark;
#endif
	return TC_ACT_UNSPEC;
}
