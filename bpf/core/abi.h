/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The contract between the BPF programs and the agent, as far as all families share it: what
 * begins a record, who and what it is about, configuration, counters.
 *
 * This is the only definition. bindgen makes the Rust side of it, and the Rust build fails if a
 * struct has implicit padding, so no uninitialised kernel byte can reach user space.
 * Freestanding: no includes but the lists of families, fixed-width types, no pointers, bit-fields,
 * unions or enum fields.
 * Object and agent are one binary, so the layout needs no version.
 */
#ifndef WB_ABI_H
#define WB_ABI_H

#include "families/registry.h"

typedef unsigned char wb_u8;
typedef unsigned short wb_u16;
typedef unsigned int wb_u32;
typedef unsigned long long wb_u64;

/* TASK_COMM_LEN, include/linux/sched.h: 16 since the first release. */
#define WB_COMM_LEN 16
/* Long enough for every program name in Debian 12 but ten; a longer one is cut, not lost. */
#define WB_EXE_LEN 32

/* Families from 1, and kinds of records of all families together from 1: zeros are no record. */
#define WB_FAMILY_NUMBER(NAME) WB_FAMILY_##NAME,
enum wb_family {
	WB_FAMILY_NONE = 0,
	WB_FAMILIES(WB_FAMILY_NUMBER) WB_FAMILY_MAX,
};

#define WB_RECORD_NUMBER(NAME, ...) WB_RECORD_##NAME,
enum wb_record_kind {
	WB_RECORD_NONE = 0,
	WB_RECORD_KINDS(WB_RECORD_NUMBER) WB_RECORD_MAX,
};

/* The process that owns a socket, as far as the kernel can tell without a file system. */
struct wb_process {
	wb_u64 start_ns; /* group leader's start, CLOCK_BOOTTIME */
	wb_u64 cgroup_id; /* number of the cgroup2 directory, as its file handle has it */
	wb_u32 tgid;
	wb_u32 reserved;
	wb_u8 comm[WB_COMM_LEN]; /* group leader's name */
	wb_u8 exe[WB_EXE_LEN]; /* last component of the executable's path */
};

/* IPv4 is held IPv4-mapped. Ports in host byte order. */
struct wb_tuple {
	wb_u8 local[16];
	wb_u8 remote[16];
	wb_u16 local_port;
	wb_u16 remote_port;
	wb_u32 netns; /* inode number of the network namespace */
};

struct wb_record_header {
	wb_u16 family; /* enum wb_family: whose record it is */
	wb_u16 kind; /* enum wb_record_kind */
	wb_u32 size; /* of the whole record */
	wb_u64 ktime_ns; /* CLOCK_MONOTONIC */
};

/*
 * What every program is told. One entry; in an array map because kernels before 5.2 have no global
 * data.
 */
struct wb_config {
	wb_u64 scope_cgroup_id; /* 0 = every cgroup */
	wb_u64 scope_cgroup_mask; /* the part of a cgroup's number that user space can know */
	wb_u32 scope_level; /* depth of the scope's cgroup */
	wb_u32 reserved;
};

/* What becomes of a record. */
enum wb_record_outcome {
	WB_OUTCOME_ATTEMPTED = 0, /* whatever became of it then */
	WB_OUTCOME_DROPPED = 1, /* the kernel refused it: a full ring, as a rule */
	WB_OUTCOME_FULL = 2, /* not among the dropped ones: a perf buffer was full, and said so */
	WB_OUTCOMES = 3,
};

/* Index of the counters array (per CPU): the outcomes of each kind of record, then all others. */
#define WB_RECORD_COUNTER(kind, outcome) (((kind) - 1) * WB_OUTCOMES + (outcome))
#define WB_COUNTER_NUMBER(NAME, ...) WB_COUNT_##NAME,
enum wb_counter {
	WB_COUNT_BEFORE = (WB_RECORD_MAX - 1) * WB_OUTCOMES - 1,
	WB_COUNTERS(WB_COUNTER_NUMBER) WB_COUNT_MAX,
};

_Static_assert(sizeof(struct wb_process) == 72, "wb_process");
_Static_assert(sizeof(struct wb_tuple) == 40, "wb_tuple");
_Static_assert(sizeof(struct wb_record_header) == 16, "wb_record_header");
_Static_assert(sizeof(struct wb_config) == 24, "wb_config");

#endif /* WB_ABI_H */
