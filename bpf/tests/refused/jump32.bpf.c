// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Comparison of 32-bit halves: -mcpu=v3, which the twin does without. */
#include "floor.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("tc")
int subject(struct __sk_buff *skb)
{
#ifdef TWIN
	return (u64)skb->mark > 7 ? TC_ACT_SHOT : TC_ACT_UNSPEC;
#else
	/* 0x26: BPF_JMP32 | BPF_JGT | BPF_K, register 1, offset 0, constant 7. */
	asm volatile("r1 = *(u32 *)(%0 + 8); .8byte 0x0000000700000126" : : "r"(skb) : "r1");
	return TC_ACT_UNSPEC;
#endif
}
