// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A size that nobody bounds right before the call. */
#include "floor.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("tc")
int subject(struct __sk_buff *skb)
{
	u8 bytes[64] = {};
	u64 size = skb->hash;

#ifdef TWIN
	asm volatile("%0 &= 0x1f" : "+r"(size));
	size += 1;
#else
	asm volatile("%0 &= 7; %0 -= 16; %0 += 24" : "+r"(size));
#endif
	bpf_skb_load_bytes(skb, 0, bytes, size);
	return bytes[3] == 7 ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}
