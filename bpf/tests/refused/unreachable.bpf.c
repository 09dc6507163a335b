// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Instructions behind a jump over them. */
#include "floor.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("tc")
int subject(struct __sk_buff *skb)
{
	u64 mark = skb->mark;

#ifdef TWIN
	asm volatile("if %0 > 5 goto +1; %0 = 1" : "+r"(mark));
#else
	asm volatile("goto +1; %0 = 1" : "+r"(mark));
#endif
	return mark == 7 ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}
