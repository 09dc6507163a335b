// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* An array on the stack, indexed by a number. */
#include "floor.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("tc")
int subject(struct __sk_buff *skb)
{
	volatile u32 words[4] = {};

	words[1] = skb->mark;
#ifdef TWIN
	u32 word = skb->hash & 1 ? words[1] : words[2];
#else
	u32 word = words[skb->hash & 3];
#endif

	return word == 7 ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}
