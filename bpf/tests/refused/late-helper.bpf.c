// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A helper that came after the kernel claimed. */
#include "floor.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

WB_TABLE(records, BPF_MAP_TYPE_PERF_EVENT_ARRAY, u32, u32);

SEC("raw_tp/inet_sock_set_state")
int subject(struct bpf_raw_tracepoint_args *ctx)
{
	u64 record = ctx->args[0];

#ifdef TWIN
	bpf_perf_event_output(ctx, &records, BPF_F_CURRENT_CPU, &record, sizeof(record));
#else
	bpf_ringbuf_output(&records, &record, sizeof(record), 0);
#endif
	return 0;
}
