// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A load that extends the sign: -mcpu=v4, which the twin does without. */
#include "floor.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("tc")
int subject(struct __sk_buff *skb)
{
	long value;
	int word = skb->mark;
	volatile int stored = word;

#ifdef TWIN
	value = stored;
#else
	/* 0x81: BPF_LDX | BPF_MEMSX | BPF_W, register 1 from what register 1 points to. */
	asm volatile("r1 = %1; .8byte 0x0000000000001181; %0 = r1"
		     : "=r"(value)
		     : "r"(&stored)
		     : "r1");
#endif
	return value == 7 ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}
