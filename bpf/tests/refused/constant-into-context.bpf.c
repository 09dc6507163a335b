// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A constant stored into the context by one instruction: -mcpu=v4 makes it. */
#include "floor.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("tc")
int subject(struct __sk_buff *skb)
{
#ifdef TWIN
	u32 mark = 7;

	asm volatile("*(u32 *)(%0 + 8) = %1" : : "r"(skb), "r"(mark) : "memory");
#else
	/* 0x62: BPF_ST | BPF_MEM | BPF_W, register 1, offset 8, constant 7. */
	asm volatile("r1 = %0; .8byte 0x0000000700080162" : : "r"(skb) : "r1", "memory");
#endif
	return TC_ACT_UNSPEC;
}
