/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What family `connection` and the agent share: its record, map keys and values. The rules are those
 * of core/abi.h.
 */
#ifndef WB_CONNECTION_ABI_H
#define WB_CONNECTION_ABI_H

#include "core/abi.h"

/* The option on the wire: kind, length, 16-bit ExID (RFC 6994), token, flags, MAC. */
#define WB_OPTION_LEN 16
#define WB_OPTION_VERSION 1
/* Layout of the flags byte: vv ee r b a c. */
#define WB_OPTION_VERSION_SHIFT 6
#define WB_OPTION_EPOCH_SHIFT 4
#define WB_OPTION_EPOCH_MASK 3
/* With an answer: the peer's handshake ACK did arrive, but without an option. */
#define WB_OPTION_BARE 4
#define WB_OPTION_ANSWER 2
#define WB_OPTION_CLONE 1
/* Key epochs that can be valid at a time: epoch modulo 4 is what fits the flags byte. */
#define WB_KEY_SLOTS 4

/* Why a connection record was made. */
enum wb_what {
	WB_WHAT_CLOSED = 1,  /* reached CLOSE; the last record of this id */
	WB_WHAT_LIVE = 2,    /* taken from the table by the snapshot iterator */
	WB_WHAT_ADOPTED = 3, /* existed before the agent: its numbers are the baseline */
	WB_WHAT_STALE = 4,   /* table entry whose socket is gone: its close was missed */
};

enum wb_role {
	WB_ROLE_CLIENT = 0,
	WB_ROLE_SERVER = 1,
};

/* wb_connection.flags and wb_connection_record.flags */
#define WB_FLAG_ESTABLISHED 0x0001 /* reached ESTABLISHED while watched, or adopted */
#define WB_FLAG_ADOPTED 0x0002
#define WB_FLAG_RESET_SENT 0x0004
#define WB_FLAG_RESET_RECEIVED 0x0008
#define WB_FLAG_ANSWER_SENT 0x0010 /* token_sent went out with WB_OPTION_ANSWER */
#define WB_FLAG_ANSWER_RECEIVED 0x0020 /* token_received came with WB_OPTION_ANSWER */
#define WB_FLAG_ACCEPTED 0x0040  /* process is the one that called accept */
#define WB_FLAG_TOKEN_SENT 0x0080 /* the option really left in a segment */
#define WB_FLAG_LISTENER 0x0100 /* process is the one that called listen, or nobody */
#define WB_FLAG_ON_DATA 0x0200 /* the option left on a segment with data */
#define WB_FLAG_ACK_MISSING 0x0400 /* data without an option ended the handshake */
#define WB_FLAG_BARE_RECEIVED 0x0800 /* the answer came with WB_OPTION_BARE */
#define WB_FLAG_NO_OUT_OF_ORDER 0x1000 /* the kernel does not count out_of_order */
#define WB_FLAG_OPEN_QUESTION                                                                      \
	0x2000 /* whether our option was stripped cannot be told: a second ACK
				      * left without it, or the peer's came and was refused */
#define WB_FLAG_TRACKED 0x4000 /* what becomes of the answer counts for the path */
#define WB_FLAG_ROOM 0x8000 /* we asked for room on the segment that is being made */
#define WB_FLAG_ROLE_UNKNOWN 0x10000 /* nobody saw who called connect(), nor do numbers tell */

/* What struct tcp_sock counts. Payload means without SYN, FIN and retransmissions. */
struct wb_numbers {
	wb_u64 bytes_sent; /* payload, each byte once */
	wb_u64 bytes_received; /* payload, each byte once */
	wb_u32 segments_sent;
	wb_u32 segments_received;
	wb_u32 retransmits; /* segments, SYN included */
	wb_u32 out_of_order; /* segments */
	wb_u32 zero_windows; /* segments received that closed or kept closed the window */
	wb_u32 srtt_us; /* 0 = no sample */
	wb_u32 min_rtt_us; /* 0 = no sample */
	wb_u32 error; /* sk_err */
};

struct wb_connection_record {
	struct wb_record_header header;
	wb_u64 id; /* unique within this boot of the agent; 0 = it was not in the table */
	wb_u64 start_ns; /* first segment seen, CLOCK_MONOTONIC */
	wb_u64 established_ns; /* 0 = not watched or not reached */
	wb_u64 token_sent; /* 0 = none */
	wb_u64 token_received; /* 0 = none */
	struct wb_process process;
	struct wb_tuple tuple;
	struct wb_numbers numbers;
	wb_u32 first_sent; /* sequence number of our first byte, network byte order */
	wb_u32 first_received; /* of the peer's; both are 0 when nobody knows them */
	wb_u32 flags;
	wb_u8 what; /* enum wb_what */
	wb_u8 role; /* enum wb_role */
	wb_u8 state; /* TCP state now */
	wb_u8 old_state; /* TCP state before CLOSE */
};

/* Value of the connections map; the key is the socket's address. */
struct wb_connection {
	wb_u64 id;
	wb_u64 start_ns;
	wb_u64 established_ns;
	wb_u64 token_sent;
	wb_u64 token_received;
	struct wb_process process;
	struct wb_tuple tuple;
	wb_u32 flags;
	wb_u32 zero_windows;
	wb_u32 handshake_retransmits; /* total_retrans when the handshake was done */
	wb_u8 role;
	wb_u8 write_state; /* enum wb_write_state */
	wb_u8 parse_left; /* segments with unknown options that are still looked at */
	wb_u8 own_cb_flags; /* sock_ops flags that we set and nobody had set before */
	wb_u32 accepted; /* process is the one that called accept; not in flags, because it is set
			  * without the socket's lock */
	wb_u32 cloned; /* flags that a packet filter sets, without the socket's lock */
	wb_u32 first_sent; /* sequence number of our first byte, network byte order */
	wb_u32 first_received; /* of the peer's; both are 0 until ESTABLISHED */
};

enum wb_write_state {
	WB_WRITE_OFF = 0,
	WB_WRITE_WANTED = 1,
	WB_WRITE_WATCHING = 2, /* written; watching whether the path took it */
	WB_WRITE_CONTROL = 3, /* not to be written, but watched as if it had been */
	WB_WRITE_IF_DEFERRED = 4, /* to be written if the listener waits for data */
};

/* Key of the listeners map. */
struct wb_listener_key {
	wb_u32 netns;
	wb_u16 port;
	wb_u16 reserved;
};

struct wb_listener {
	struct wb_process process;
	wb_u64 sock; /* address of a listening socket of this port; only to be read from */
};

/* Key of the destinations LPM trie. */
struct wb_prefix {
	wb_u32 length; /* bits, 96 more for IPv4 */
	wb_u8 addr[16];
};

/*
 * Key of the paths map: the way to one service, as its client or as itself sees it. The port of
 * who connects is another one each time, so it tells nothing and is not kept.
 */
struct wb_path_key {
	wb_u8 addr[16]; /* of the peer */
	wb_u32 netns;
	wb_u16 port; /* of the service: the peer's, or our own; host byte order */
	wb_u8 role; /* enum wb_role */
	wb_u8 reserved;
};

enum wb_path_reason {
	WB_PATH_HANDSHAKE_LOST = 1, /* the peer repeated its SYN-ACK after our option */
	WB_PATH_DATA_LOST = 2, /* data that carried the option had to be retransmitted */
	WB_PATH_STRIPPED = 3, /* the peer answered although we had written */
	WB_PATH_ANSWER_LOST = 4, /* the peer repeated the data that our answer acknowledged */
};

/* Times are CLOCK_MONOTONIC. Evidence is in bits; path.bpf.h has the arithmetic. */
struct wb_path {
	wb_u64 off_until_ns; /* 0 = never off */
	wb_u64 counted_ns; /* end of the last handshake whose outcome was counted */
	wb_u64 probed_ns; /* last option that left while the path was on trial */
	wb_u64 aged_ns; /* until when evidence and times_off have aged */
	wb_u32 times_off; /* exponent of the back-off */
	wb_u32 reason; /* enum wb_path_reason, of the last failure */
	wb_u32 lost; /* evidence that segments are lost because of the option */
	wb_u32 stripped; /* evidence that the option is removed */
	wb_u32 turn; /* connections since the path is on trial */
	wb_u32 control_passed; /* 1 = what had no option did not get lost */
	wb_u32 handshakes; /* recent ones */
	wb_u32 repeated; /* the part of them in which SYN or SYN-ACK had to be repeated */
	wb_u32 arrived; /* options that came, less what came without */
	wb_u32 reserved;
};

struct wb_key {
	wb_u64 k0;
	wb_u64 k1;
	wb_u32 epoch;
	wb_u32 valid;
};

/* Slots of the handshakes array: a power of two, and few enough for struct wb_waiting to get
 * memory that the kernel maps by large pages (bpf_map_area_alloc: up to 32 KiB). */
#define WB_HANDSHAKE_SLOTS 16384

/* Value of the handshakes array: a segment that is to be copied. Network byte order. */
struct wb_handshake {
	wb_u64 sock; /* key of the connection; 0 = free */
	wb_u32 seq;
	wb_u32 ack; /* 0 = any */
};

/* Key of the arrivals map: the segment that carried the option. Network byte order. */
struct wb_arrival_key {
	wb_u32 seq;
	wb_u32 ack; /* 0 with answers: theirs may be any in the window */
};

struct wb_arrival {
	wb_u64 token;
	wb_u32 ack; /* network byte order */
	wb_u32 flags; /* of the option */
};

enum wb_cloning_state {
	WB_CLONING_IDLE = 0,
	WB_CLONING_STARTED = 1, /* the copy is on its way back to the filter */
	WB_CLONING_FAILED = 2, /* it came, and could not be rewritten */
	WB_CLONING_DONE = 3,
};

/* What a filter's first run hands to the run for the copy, on the same CPU. */
struct wb_cloning {
	wb_u32 state; /* enum wb_cloning_state */
	wb_u32 mark; /* of the original */
	wb_u32 seq; /* network byte order */
	wb_u16 network; /* offset of the IP header */
	wb_u16 transport; /* offset of the TCP header */
	wb_u16 header; /* bytes of the TCP header */
	wb_u8 is_v6;
	wb_u8 reserved[5];
	wb_u8 option[WB_OPTION_LEN];
};

/* What the programs of the family are told. One entry, as of wb_config. */
struct wb_connection_config {
	wb_u64 path_backoff_ns; /* first time off */
	wb_u32 write_epoch; /* key that writes */
	wb_u32 late_below; /* connections may be entered late while the table has fewer; 0 = never */
	wb_u16 option_exid;
	wb_u8 option_kind;
	wb_u8 option_write; /* 0 = read only */
	wb_u8 option_on_data;
	wb_u8 option_answer;
	wb_u8 keep_cb_flags; /* another sock_ops program may be attached: never clear a flag */
	wb_u8 clone; /* mode tc-clone: WB_CLONE_* */
	wb_u8 tell_unknown; /* report ends of connections that are not in the table */
	wb_u8 reserved[7];
};

/*
 * Value of the filling array. What was evicted is not known to be gone, so a table that was once
 * near its bound must not take what it does not have for new.
 */
struct wb_filling {
	wb_u64 entries; /* entered less deleted: never fewer than there are */
	wb_u32 was_near; /* 1 once wb_connection_config.late_below was reached */
	wb_u32 reserved;
};

/* A sockops program of the host, as the iterator over programs shows it. */
struct wb_co_attached {
	wb_u32 id;
	wb_u8 name[16]; /* ends with 0 where it is shorter */
};

/* wb_connection_config.clone */
#define WB_CLONE_ON 1
#define WB_CLONE_DROP 2 /* no copy that arrives can be for another machine: none is passed on */

_Static_assert(sizeof(struct wb_numbers) == 48, "wb_numbers");
_Static_assert(sizeof(struct wb_connection_record) == 232, "wb_connection_record");
_Static_assert(sizeof(struct wb_connection) == 184, "wb_connection");
_Static_assert(sizeof(struct wb_path_key) == 24, "wb_path_key");
_Static_assert(sizeof(struct wb_path) == 72, "wb_path");
_Static_assert(sizeof(struct wb_connection_config) == 32, "wb_connection_config");
_Static_assert(sizeof(struct wb_cloning) == 40, "wb_cloning");

#endif /* WB_CONNECTION_ABI_H */
