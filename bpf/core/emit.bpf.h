/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Records on their way out; what was attempted and dropped is counted by kind.
 *
 * The same source is compiled twice: with a ring buffer (5.8+, some backports), and with
 * -DWB_TRANSPORT_PERF for kernels without one. Both objects have the same maps otherwise.
 *
 * The ring of the core takes the records of every family whose rate is bounded by what it tells of. A
 * family that could push out what others have to say declares a ring of its own beside its programs,
 * as WB_RING, and sends to that by emit_to(); the agent reads each within a budget of its own.
 */
#ifndef WB_EMIT_BPF_H
#define WB_EMIT_BPF_H

#include "abi.h"
#include "compat.bpf.h"
#include "count.bpf.h"

/* The agent is woken when one of so many parts of a ring is unread; else it looks by itself. */
#define WB_WAKEUP_SHARE 4

#ifdef WB_TRANSPORT_PERF
/*
 * One ring per CPU; the agent sets its size. Full = bpf_perf_event_output fails since 5.1 (commit
 * 56201969282c), and says that it did not before; a record in the ring tells of both.
 */
#define WB_RING(name)                                                                              \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);                                       \
		__uint(key_size, sizeof(u32));                                                     \
		__uint(value_size, sizeof(u32));                                                   \
	} name SEC(".maps")
#else
/* One ring for all CPUs, so what happened to one thing stays in order. The agent sets its size. */
#define WB_RING(name)                                                                              \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_RINGBUF);                                                \
		__uint(max_entries, 4 << 20);                                                      \
	} name SEC(".maps")
#endif

/* records: what all families share, of the size limits.ring_bytes. */
WB_RING(records);

static __always_inline void begin_record(struct wb_record_header *header, u16 family, u16 kind,
					 u32 size)
{
	header->family = family;
	header->kind = kind;
	header->size = size;
	header->ktime_ns = bpf_ktime_get_ns();
}

/* Sends a finished record to a ring. Every attempt and every loss is counted. */
static __always_inline void emit_to(void *ctx, void *ring, struct wb_record_header *header,
				    u16 family, u16 kind, u32 size)
{
	(void)ctx; /* only the perf variant needs it */
	count(WB_RECORD_COUNTER(kind, WB_OUTCOME_ATTEMPTED));
	begin_record(header, family, kind, size);
#ifdef WB_TRANSPORT_PERF
	long status = bpf_perf_event_output(ctx, ring, BPF_F_CURRENT_CPU, header, size);

	if (status)
		count(WB_RECORD_COUNTER(kind,
					status == -ENOSPC ? WB_OUTCOME_FULL : WB_OUTCOME_DROPPED));
#else
	/* The agent looks on its own every second; waking it for each record would cost more than
	 * the record. It is woken early only when the ring fills. */
	u64 unread = bpf_ringbuf_query(ring, BPF_RB_AVAIL_DATA);
	u64 share = bpf_ringbuf_query(ring, BPF_RB_RING_SIZE) / WB_WAKEUP_SHARE;

	if (bpf_ringbuf_output(ring, header, size,
			       unread >= share ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP))
		count(WB_RECORD_COUNTER(kind, WB_OUTCOME_DROPPED));
#endif
}

/* The same to the ring that all families share. */
static __always_inline void emit(void *ctx, struct wb_record_header *header, u16 family, u16 kind,
				 u32 size)
{
	emit_to(ctx, &records, header, family, kind, size);
}

#endif /* WB_EMIT_BPF_H */
