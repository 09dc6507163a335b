// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* So many ways through it that kernels before 5.2 give up. */
#include "floor.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("tc")
int subject(struct __sk_buff *skb)
{
	u64 sum = 1;

#ifdef TWIN
#define WAYS ".rept 8;"
#else
#define WAYS ".rept 16;"
#endif
	asm volatile(WAYS "r2 = *(u32 *)(%1 + 8); %0 <<= 1; if r2 > 5 goto +1; %0 += 1; .endr"
		     : "+r"(sum)
		     : "r"(skb)
		     : "r2");
	return sum == 7 ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}
