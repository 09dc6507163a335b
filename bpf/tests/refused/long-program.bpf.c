// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* One instruction more than kernels before 5.2 take. */
#include "floor.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("tc")
int subject(struct __sk_buff *skb)
{
	u64 sum = skb->mark;

#ifdef TWIN
	asm volatile(".rept 4000; %0 += 1; .endr" : "+r"(sum));
#else
	asm volatile(".rept 4096; %0 += 1; .endr" : "+r"(sum));
#endif
	return sum == 7 ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}
