/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Records on their way out, and the counters of what was attempted and dropped.
 *
 * The same source is compiled twice: with a ring buffer (5.8+, some backports), and with
 * -DWB_TRANSPORT_PERF for kernels without one. Both objects have the same maps otherwise.
 */
#ifndef WB_EMIT_BPF_H
#define WB_EMIT_BPF_H

#include "abi.h"
#include "compat.bpf.h"

/*
 * counters: per CPU, so that counting is one add without contention. User space sums. Never
 * emptied: cumulative since load.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, WB_COUNT_MAX);
	__type(key, u32);
	__type(value, u64);
} counters SEC(".maps");

/* config: one entry, written by the agent before it attaches anything. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct wb_config);
} config SEC(".maps");

#ifdef WB_TRANSPORT_PERF
/*
 * records: one ring per CPU; the agent sets its size. Full = bpf_perf_event_output fails since 5.1
 * (commit 56201969282c), and says that it did not before; a record in the ring tells of both.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(u32));
	__uint(value_size, sizeof(u32));
} records SEC(".maps");
#else
/* records: one ring for all CPUs, so records of one connection stay in order. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 << 20); /* replaced by the agent's limits.ring_bytes */
} records SEC(".maps");
#endif

static __always_inline void count(u32 counter)
{
	u64 *value = bpf_map_lookup_elem(&counters, &counter);

	if (value)
		*value += 1;
}

static __always_inline struct wb_config *configuration(void)
{
	u32 zero = 0;

	return bpf_map_lookup_elem(&config, &zero);
}

/* Sends a finished record. Every attempt and every loss is counted. */
static __always_inline void emit(void *ctx, struct wb_connection_record *record)
{
	(void)ctx; /* only the perf variant needs it */
	count(WB_COUNT_RECORDS_ATTEMPTED);
	record->header.kind = WB_RECORD_CONNECTION;
	record->header.size = sizeof(*record);
	record->header.cpu = bpf_get_smp_processor_id();
	record->header.ktime_ns = bpf_ktime_get_ns();
#ifdef WB_TRANSPORT_PERF
	long status =
		bpf_perf_event_output(ctx, &records, BPF_F_CURRENT_CPU, record, sizeof(*record));

	if (status)
		count(status == -ENOSPC ? WB_COUNT_RECORDS_FULL : WB_COUNT_RECORDS_DROPPED);
#else
	struct wb_config *cfg = configuration();
	u64 wakeup_bytes = cfg ? cfg->wakeup_bytes : 0;
	/* The agent looks on its own every second; waking it for each record would cost more than
	 * the record. It is woken early only when the ring fills. */
	u64 flags = bpf_ringbuf_query(&records, BPF_RB_AVAIL_DATA) >= wakeup_bytes ?
			    BPF_RB_FORCE_WAKEUP :
			    BPF_RB_NO_WAKEUP;

	if (bpf_ringbuf_output(&records, record, sizeof(*record), flags))
		count(WB_COUNT_RECORDS_DROPPED);
#endif
}

#endif /* WB_EMIT_BPF_H */
