// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A helper that came after the kernel claimed. */
#include "floor.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("raw_tp/inet_sock_set_state")
int subject(struct bpf_raw_tracepoint_args *ctx)
{
#ifdef TWIN
	return bpf_ktime_get_ns() == ctx->args[0];
#else
	return bpf_ktime_get_boot_ns() == ctx->args[0];
#endif
}
