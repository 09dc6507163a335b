// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A loop that clang did not unroll. */
#include "floor.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("tc")
int subject(struct __sk_buff *skb)
{
	u32 word = 0;
	u32 sum = 0;

#ifdef TWIN
#pragma unroll
#else
#pragma nounroll
#endif
	for (int i = 0; i < 4; i++) {
		if (bpf_skb_load_bytes(skb, i * 4, &word, sizeof(word)))
			return TC_ACT_UNSPEC;
		sum += word;
	}
	return sum ? TC_ACT_UNSPEC : TC_ACT_SHOT;
}
