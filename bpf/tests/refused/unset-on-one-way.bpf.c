// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A word that only one of two ways to its use has set. */
#include "floor.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("tc")
int subject(struct __sk_buff *skb)
{
	u32 words[4];

#ifdef TWIN
	__builtin_memset(words, 0, sizeof(words));
#endif
	if (skb->mark)
		bpf_skb_load_bytes(skb, 0, words, sizeof(words));
	u32 word = *(volatile u32 *)&words[2];

	return word == 7 ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}
