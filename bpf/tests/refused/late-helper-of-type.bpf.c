// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A helper that this type of programs got later than others. */
#include "floor.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

WB_TABLE(records, BPF_MAP_TYPE_PERF_EVENT_ARRAY, u32, u32);

#ifdef TWIN
SEC("tc")
int subject(struct __sk_buff *ctx)
#else
SEC("sockops")
int subject(struct bpf_sock_ops *ctx)
#endif
{
	u64 record = 7;

	bpf_perf_event_output(ctx, &records, BPF_F_CURRENT_CPU, &record, sizeof(record));
	return 0;
}
