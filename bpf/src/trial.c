// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A packet filter that does nothing, to find out whether one can be attached at all. */
#include "kernel.h"

#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("tc")
int wb_trial_filter(struct __sk_buff *skb)
{
	(void)skb;
	return TC_ACT_UNSPEC;
}
