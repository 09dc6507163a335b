// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * A second object for tests of what all objects share, and of a ring that is one family's own: each run
 * of a program sends one record. The agent loads it nowhere.
 */
#include "core/config.bpf.h"
#include "core/count.bpf.h"
#include "core/emit.bpf.h"
#include "families/connection/abi.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* own: the ring of a family with a high rate, which has no room in the one that all share. */
WB_RING(own);

/* A record that says what the configuration was, and how it was sent. */
static __always_inline void fill(struct wb_connection_record *record, u64 own)
{
	struct wb_config *cfg = configuration();

	record->what = WB_WHAT_CLOSED;
	record->id = (cfg ? cfg->scope_cgroup_id : 0) + own;
}

SEC("tc")
int wb_flood_own(struct __sk_buff *skb)
{
	struct wb_connection_record record = {};

	fill(&record, 1);
	emit_to(skb, &own, &record.header, WB_FAMILY_CONNECTION, WB_RECORD_CONNECTION,
		sizeof(record));
	return TC_ACT_UNSPEC;
}

SEC("tc")
int wb_flood_shared(struct __sk_buff *skb)
{
	struct wb_connection_record record = {};

	fill(&record, 0);
	emit(skb, &record.header, WB_FAMILY_CONNECTION, WB_RECORD_CONNECTION, sizeof(record));
	return TC_ACT_UNSPEC;
}
