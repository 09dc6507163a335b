// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The end of a TCP header by direct access, as it would be written for a new kernel. */
#include "floor.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("tc")
int subject(struct __sk_buff *skb)
{
	u8 *data = (u8 *)(long)skb->data;
	u8 *end = (u8 *)(long)skb->data_end;

	if (data + 54 > end)
		return TC_ACT_UNSPEC;
	u32 transport = 14 + (data[14] & 0xf) * 4;
	u32 length = (data[46] >> 4) * 4;

	if (length < 36)
		return TC_ACT_UNSPEC;
	u32 offset = transport + length - 16;

#ifdef TWIN
	asm volatile("%0 &= 0x7f" : "+r"(offset));
#endif
	u8 *option = data + offset;

	if (option + 16 > end)
		return TC_ACT_UNSPEC;
	return option[0] == 253 ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}
