// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A table that is constant data. */
#include "floor.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#ifndef TWIN
static const volatile u32 table[4] = {3, 5, 7, 11};
#endif

SEC("tc")
int subject(struct __sk_buff *skb)
{
#ifdef TWIN
	u32 entry = 5 + (skb->mark & 2);
#else
	u32 entry = table[skb->mark & 3];
#endif

	return skb->hash == entry ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}
