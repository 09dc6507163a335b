// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A function that was not inlined. */
#include "floor.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#ifdef TWIN
static __always_inline
#else
static __noinline
#endif
	int
	mix(u32 a, u32 b)
{
	return a * 31 + b;
}

SEC("tc")
int subject(struct __sk_buff *skb)
{
	return mix(skb->hash, skb->mark) == 5 ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}
