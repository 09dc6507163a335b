/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The contract between the BPF programs and the agent: records, map keys and values, counters.
 *
 * This is the only definition. bindgen makes the Rust side of it, and the Rust build fails if a
 * struct has implicit padding, so no uninitialised kernel byte can reach user space.
 * Freestanding: no includes, fixed-width types, no pointers, bit-fields, unions or enum fields.
 * Object and agent are one binary, so the layout needs no version.
 */
#ifndef WB_ABI_H
#define WB_ABI_H

typedef unsigned char wb_u8;
typedef unsigned short wb_u16;
typedef unsigned int wb_u32;
typedef unsigned long long wb_u64;

/* TASK_COMM_LEN, include/linux/sched.h: 16 since the first release. */
#define WB_COMM_LEN 16
/* Long enough for every program name in Debian 12 but ten; a longer one is cut, not lost. */
#define WB_EXE_LEN 32

enum wb_record_kind {
	WB_RECORD_CONNECTION = 1,
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
	wb_u16 kind; /* enum wb_record_kind */
	wb_u16 size; /* of the whole record */
	wb_u32 cpu;
	wb_u64 ktime_ns; /* CLOCK_MONOTONIC */
};

/* One entry; in an array map because kernels before 5.2 have no global data. */
struct wb_config {
	wb_u64 scope_cgroup_id; /* 0 = every cgroup */
	wb_u64 scope_cgroup_mask; /* the part of a cgroup's number that user space can know */
	wb_u64 path_backoff_ns; /* first time off */
	wb_u64 wakeup_bytes; /* unread bytes in the ring that wake the agent */
	wb_u32 scope_level; /* depth of the scope's cgroup */
	wb_u32 write_epoch; /* key that writes */
	wb_u16 option_exid;
	wb_u8 option_kind;
	wb_u8 option_write; /* 0 = read only */
	wb_u8 option_on_data;
	wb_u8 option_answer;
	wb_u8 keep_cb_flags; /* another sock_ops program may be attached: never clear a flag */
	wb_u8 clone; /* mode tc-clone: WB_CLONE_* */
	wb_u8 tell_unknown; /* report ends of connections that are not in the table */
	wb_u8 reserved[3];
	wb_u32 late_below; /* connections may be entered late while the table has fewer; 0 = never */
};

/* Index of the counters array (per CPU). */
enum wb_counter {
	WB_COUNT_RECORDS_ATTEMPTED = 0,
	WB_COUNT_RECORDS_DROPPED = 1,
	WB_COUNT_CONNECTIONS_INSERTED = 2,
	WB_COUNT_CONNECTIONS_DELETED = 3,
	WB_COUNT_CONNECTIONS_FAILED = 4, /* insert refused */
	WB_COUNT_OPTION_WRITTEN = 5,
	WB_COUNT_OPTION_READ = 6,
	WB_COUNT_OPTION_BAD_MAC = 7,
	WB_COUNT_OPTION_MALFORMED = 8,
	WB_COUNT_OPTION_UNKNOWN_EPOCH = 9,
	WB_COUNT_OPTION_NO_ROOM = 10,
	WB_COUNT_OPTION_NOT_ALLOWED = 11, /* destination not in the list */
	WB_COUNT_OPTION_PATH_OFF = 12, /* destination in the negative cache */
	WB_COUNT_OPTION_STORE_FAILED = 13,
	WB_COUNT_PATH_FAILURES = 14,
	WB_COUNT_CLONE_REDIRECT_FAILED = 15, /* the kernel did not send the copy */
	WB_COUNT_CLONE_REWRITE_FAILED = 16, /* the copy could not be rewritten and was dropped */
	WB_COUNT_CLONE_UNSEEN = 17, /* the copy did not come back to the filter */
	WB_COUNT_CLONE_OVERWRITTEN = 18, /* a waiting handshake lost its slot to another */
	WB_COUNT_CLONE_UNSENT = 19, /* the connection ended before a segment could be copied */
	WB_COUNT_CLONE_ASLEEP = 20, /* the agent's heartbeat was too old */
	WB_COUNT_CLONE_SIGNED = 21, /* connections with TCP MD5 or AO: a copy would be a forgery */
	WB_COUNT_CLONE_ARRIVED = 22, /* options that a filter read */
	WB_COUNT_CLONE_ARRIVALS_FAILED = 23, /* insert refused */
	WB_COUNT_CLONE_TAKEN_OFF = 24, /* copies that were read and dropped */
	WB_COUNT_CLONE_NONLINEAR = 25, /* segments whose header was out of reach */
	WB_COUNT_OPTION_UNSENT = 26, /* the connection ended before the stack could write it */
	WB_COUNT_CONNECTIONS_LATE = 27, /* entered after nobody had seen how they began */
	WB_COUNT_PATH_SWITCHED_OFF = 28,
	WB_COUNT_RECORDS_FULL =
		29, /* not among the dropped ones: a perf buffer was full, and said so */
	WB_COUNT_MAX = 30,
};

_Static_assert(sizeof(struct wb_process) == 72, "wb_process");
_Static_assert(sizeof(struct wb_tuple) == 40, "wb_tuple");
_Static_assert(sizeof(struct wb_config) == 56, "wb_config");

#endif /* WB_ABI_H */
