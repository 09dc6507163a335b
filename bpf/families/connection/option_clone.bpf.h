/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Injection mode `tc-clone`: a packet filter copies the segment that ends the handshake, and only
 * the copy carries the option. The original leaves as it was.
 *
 * Packets and sockets are joined by sequence numbers: at ESTABLISHED the socket knows the two
 * numbers that the segment will have, and neither address translation nor namespaces, bridges or
 * tunnels on this host change them (decision 0011).
 *
 * Rules, each one measured to be needed:
 * - Never a copy of SYN, FIN or RST, and never one that is not an exact, synchronous duplicate in
 *   sequence, acknowledgement and window: a gateway that calls it invalid resets the connection.
 * - Everything that says "copy this" is cleared before the copy is made: where the mark gets lost
 *   the copy comes back as an ordinary packet.
 * - No loop, no call, masked offsets and zeroed structs, because the verifiers of 4.14 and 4.19
 *   forgive nothing; helpers of 4.14 only.
 */
#ifndef WB_OPTION_CLONE_BPF_H
#define WB_OPTION_CLONE_BPF_H

#include "option.bpf.h"
#include "segment.bpf.h"
#include "sock.bpf.h"

/* Upper half of the mark of a copy on its way back to the filter; the lower one is kept. */
#define WB_CLONE_MARK 0x57420000U
#define WB_CLONE_MARK_MASK 0xffff0000U
/* An agent that gave no heartbeat for this long is dead: its filters do nothing. */
#define WB_ASLEEP_NS (10ULL * 1000000000ULL)
/* An answer acknowledges no more than this beyond our first byte. */
#define WB_ANSWER_WINDOW (1U << 20)
/* include/linux/netdevice.h: the queue took the packet in spite of congestion. */
#define WB_XMIT_CN 2

static __always_inline bool agent_is_alive(void)
{
	u32 zero = 0;
	u64 *last = bpf_map_lookup_elem(&heartbeat, &zero);

	return last && bpf_ktime_get_ns() - *last < WB_ASLEEP_NS;
}

static __always_inline u32 handshake_slot(u32 seq)
{
	return ((seq * 0x9e3779b1U) >> 16) & (WB_HANDSHAKE_SLOTS - 1);
}

/* The byte that says whether a slot is taken. */
static __always_inline u8 *slot_is_taken(u32 slot)
{
	u32 zero = 0;
	struct wb_waiting *all = bpf_map_lookup_elem(&waiting, &zero);

	/* Bounded where it is used, and where clang cannot see that it was bounded before: verifiers
	 * forget the bounds of a number that lay on the stack when a helper looked there. */
	asm volatile("%0 &= %1" : "+r"(slot) : "i"(WB_HANDSHAKE_SLOTS - 1));
	return all ? &all->slot[slot] : NULL;
}

static __always_inline void take_slot(u32 slot, u8 taken)
{
	u8 *byte = slot_is_taken(slot);

	if (byte)
		*byte = taken;
}

static __always_inline void arrival_key_of(struct wb_arrival_key *key, struct wb_connection *conn)
{
	key->seq = conn->first_received;
	key->ack = conn->role == WB_ROLE_SERVER ? conn->first_sent : 0;
}

/* The option that came for a connection, or NULL. */
static __always_inline struct wb_arrival *arrival_of(struct wb_arrival_key *key,
						     struct wb_connection *conn)
{
	if (!conn->first_received || conn->token_received)
		return NULL;
	arrival_key_of(key, conn);
	struct wb_arrival *found = bpf_map_lookup_elem(&arrivals, key);

	if (!found)
		return NULL;
	u32 distance = __builtin_bswap32(found->ack) - __builtin_bswap32(conn->first_sent);

	return distance < WB_ANSWER_WINDOW ? found : NULL;
}

static __always_inline u32 arrival_flags(struct wb_arrival *arrival)
{
	u32 flags = 0;

	if (arrival->flags & WB_OPTION_ANSWER)
		flags |= WB_FLAG_ANSWER_RECEIVED;
	if (arrival->flags & WB_OPTION_BARE)
		flags |= WB_FLAG_BARE_RECEIVED;
	return flags;
}

/* Takes what came for a connection; true when there was something. */
static __always_inline bool claim_arrival(struct wb_connection *conn)
{
	struct wb_arrival_key key = {};
	struct wb_arrival *arrival = arrival_of(&key, conn);

	if (!arrival)
		return 0;
	u32 flags = arrival_flags(arrival);

	conn->token_received = arrival->token;
	/* Filters come here without the socket's lock, but for servers, which get no answers. */
	if (flags)
		conn->flags |= flags;
	bpf_map_delete_elem(&arrivals, &key);
	count(WB_COUNT_OPTION_READ);
	return 1;
}

/* For a snapshot: shows in the record what its connection would take. */
static __always_inline void clone_peek(struct wb_connection_record *record,
				       struct wb_connection *conn)
{
	struct wb_arrival_key key = {};
	struct wb_arrival *arrival = arrival_of(&key, conn);

	if (!arrival)
		return;
	record->token_received = arrival->token;
	record->flags |= arrival_flags(arrival);
}

/*
 * Keeps an option for the connection that will ask for it. False when it is there already: the
 * same packet passes several devices, and networks repeat packets.
 */
static __always_inline bool note_arrival(struct wb_arrival_key *key, u32 ack, u64 token, u8 flags)
{
	struct wb_arrival arrival = {};

	key->ack = flags & WB_OPTION_ANSWER ? 0 : ack;
	if (bpf_map_lookup_elem(&arrivals, key))
		return 0;
	arrival.token = token;
	arrival.ack = ack;
	arrival.flags = flags;
	if (bpf_map_update_elem(&arrivals, key, &arrival, BPF_ANY))
		count(WB_COUNT_CLONE_ARRIVALS_FAILED);
	return 1;
}

/* A changed segment of a signed connection would be a forgery, and is logged as one. */
static __always_inline bool sock_is_signed(struct tcp_sock *tp)
{
	if (bpf_core_field_exists(tp->md5sig_info) && BPF_CORE_READ(tp, md5sig_info))
		return 1;
	return bpf_core_field_exists(tp->ao_info) && BPF_CORE_READ(tp, ao_info);
}

/* Whether the option may be sent to the peer; each refusal is counted. */
static __always_inline bool clone_allowed(struct wb_connection *conn, struct tcp_sock *tp,
					  struct wb_connection_config *cfg)
{
	struct wb_prefix prefix = {};

	if (!cfg->option_write || (conn->role == WB_ROLE_SERVER && !cfg->option_answer))
		return 0;
	prefix.length = 128;
	__builtin_memcpy(prefix.addr, conn->tuple.remote, sizeof(prefix.addr));
	u32 *allowed = bpf_map_lookup_elem(&destinations, &prefix);

	if (!allowed || !*allowed) {
		count(WB_COUNT_OPTION_NOT_ALLOWED);
		return 0;
	}
	if (sock_is_signed(tp)) {
		count(WB_COUNT_CLONE_SIGNED);
		return 0;
	}
	return 1;
}

/* True when both ends are in one network namespace, so that no device is passed but loopback. */
static __always_inline bool ends_meet(struct wb_tuple *tuple)
{
	/* In words, because constants in memory would need global data, which 5.1 does not have. */
	u32 *remote = (u32 *)tuple->remote;

	if (!__builtin_memcmp(tuple->local, tuple->remote, sizeof(tuple->local)))
		return 1;
	if (remote[0] || remote[1])
		return 0;
	return (!remote[2] && remote[3] == __builtin_bswap32(1)) ||
	       (remote[2] == __builtin_bswap32(0xffff) && tuple->remote[12] == 127);
}

/* Gives the token to a peer of this host without any packet: its child comes to be later. */
static __always_inline void hand_over(struct wb_connection *conn)
{
	struct wb_arrival_key key = {};

	key.seq = conn->first_sent;
	note_arrival(&key, conn->first_received, conn->token_sent, WB_OPTION_CLONE);
	conn->cloned = WB_FLAG_TOKEN_SENT;
	count(WB_COUNT_OPTION_WRITTEN);
}

/*
 * At ESTABLISHED, under the socket's lock, before its next segment leaves: notes the numbers of
 * the segment that is to be copied. A client's is its handshake ACK, alone or with first data. A
 * server that got no option copies its first segment, whatever that acknowledges.
 */
static __always_inline void clone_established(struct sock *sk, struct wb_connection *conn,
					      struct wb_connection_config *cfg)
{
	struct tcp_sock *tp = (struct tcp_sock *)sk;

	if (conn->role == WB_ROLE_SERVER && claim_arrival(conn))
		return;
	if (!clone_allowed(conn, tp, cfg))
		return;
	conn->token_sent = new_token();
	if (ends_meet(&conn->tuple)) {
		/* What a server could answer would pass no filter. */
		if (conn->role == WB_ROLE_CLIENT)
			hand_over(conn);
		return;
	}
	u32 index = handshake_slot(conn->first_sent);
	struct wb_handshake *slot = bpf_map_lookup_elem(&handshakes, &index);

	if (!slot)
		return;
	if (slot->sock)
		count(WB_COUNT_CLONE_OVERWRITTEN);
	conn->write_state = WB_WRITE_WANTED;
	slot->seq = conn->first_sent;
	slot->ack = conn->role == WB_ROLE_CLIENT ? conn->first_received : 0;
	slot->sock = (u64)sk;
	take_slot(index, 1);
}

/* At CLOSE: the last chance for what came late, and the end of what still waits. */
static __always_inline void clone_closed(u64 key, struct wb_connection *conn)
{
	claim_arrival(conn);
	if (conn->write_state != WB_WRITE_WANTED)
		return;
	u32 index = handshake_slot(conn->first_sent);
	struct wb_handshake *slot = bpf_map_lookup_elem(&handshakes, &index);

	if (slot && slot->sock == key) {
		slot->sock = 0;
		take_slot(index, 0);
		count(WB_COUNT_CLONE_UNSENT);
	}
}

/* Counts what became of a copy; true when it left. */
static __always_inline bool account(struct wb_connection *conn, u32 state, long error, u8 flags)
{
	if (state == WB_CLONING_FAILED) {
		count(WB_COUNT_CLONE_REWRITE_FAILED);
	} else if (error && error != WB_XMIT_CN) {
		count(WB_COUNT_CLONE_REDIRECT_FAILED);
	} else if (state != WB_CLONING_DONE) {
		count(WB_COUNT_CLONE_UNSEEN);
	} else {
		count(WB_COUNT_OPTION_WRITTEN);
		conn->cloned =
			WB_FLAG_TOKEN_SENT | (flags & WB_OPTION_ANSWER ? WB_FLAG_ANSWER_SENT : 0);
		return 1;
	}
	return 0;
}

/* Copies a segment that a connection waits for. */
static __always_inline void send_copy(struct __sk_buff *skb, struct wb_segment *segment,
				      struct wb_handshake *slot)
{
	u64 key = slot->sock;
	u32 zero = 0;
	struct wb_connection_config *cfg = connection_config();
	struct wb_connection *conn = bpf_map_lookup_elem(&connections, &key);
	struct wb_cloning *work = bpf_map_lookup_elem(&cloning, &zero);
	u8 flags = WB_OPTION_CLONE;

	if (!cfg || !conn || !work || conn->first_sent != segment->seq ||
	    conn->write_state != WB_WRITE_WANTED)
		return;
	if (!agent_is_alive()) {
		count(WB_COUNT_CLONE_ASLEEP);
		return;
	}
	slot->sock = 0;
	take_slot(handshake_slot(segment->seq), 0);
	conn->write_state = WB_WRITE_OFF;
	if (conn->role == WB_ROLE_SERVER) {
		/* It came late, but it came: no answer is needed. */
		if (claim_arrival(conn))
			return;
		flags |= WB_OPTION_ANSWER;
	}
	if (segment->header < 20 || segment->header + WB_OPTION_LEN > WB_TCP_HEADER_MAX) {
		count(WB_COUNT_OPTION_NO_ROOM);
		return;
	}
	if (!option_build((struct wb_option *)work->option, cfg, conn->token_sent, flags)) {
		count(WB_COUNT_OPTION_STORE_FAILED);
		return;
	}
	struct wb_arrival_key key_here = {};
	u32 mark = skb->mark;

	/* The peer may be on this host, in a container that no reader of ours sees. */
	key_here.seq = segment->seq;
	note_arrival(&key_here, segment->ack, conn->token_sent, flags);
	work->mark = mark;
	work->seq = segment->seq;
	work->network = segment->network;
	work->transport = segment->transport;
	work->header = segment->header;
	work->is_v6 = segment->is_v6;
	work->state = WB_CLONING_STARTED;
	set_mark(skb, WB_CLONE_MARK | (mark & ~WB_CLONE_MARK_MASK));
	long error = bpf_clone_redirect(skb, skb->ifindex, 0);

	set_mark(skb, mark);
	u32 state = work->state;

	work->state = WB_CLONING_IDLE;
	if (!account(conn, state, error, flags))
		bpf_map_delete_elem(&arrivals, &key_here);
}

/* The run for a copy. */
static __always_inline int finish_copy(struct __sk_buff *skb, struct wb_cloning *work)
{
	set_mark(skb, work->mark);
	work->state = WB_CLONING_FAILED;
	if (make_copy(skb, work))
		return TC_ACT_SHOT;
	work->state = WB_CLONING_DONE;
	return TC_ACT_UNSPEC;
}

static __always_inline int clone_out(struct __sk_buff *skb, u32 link)
{
	struct wb_segment segment = {};
	u8 wanted = TCP_FLAG_ACK | TCP_FLAG_SYN | TCP_FLAG_FIN | TCP_FLAG_RST;

	/* volatile: the verifiers before 4.20 refuse the load of its upper half that clang may make. */
	if ((*(volatile u32 *)&skb->mark & WB_CLONE_MARK_MASK) == WB_CLONE_MARK) {
		u32 zero = 0;
		struct wb_cloning *work = bpf_map_lookup_elem(&cloning, &zero);

		if (work && work->state == WB_CLONING_STARTED)
			return finish_copy(skb, work);
	}
	if (!segment_of(skb, link, &segment) || (segment.flags & wanted) != TCP_FLAG_ACK)
		return TC_ACT_UNSPEC;
	u32 index = handshake_slot(segment.seq);
	u8 *taken = slot_is_taken(index);

	if (!taken || !*taken)
		return TC_ACT_UNSPEC;
	struct wb_handshake *slot = bpf_map_lookup_elem(&handshakes, &index);

	if (slot && slot->seq == segment.seq && slot->sock &&
	    (!slot->ack || slot->ack == segment.ack))
		send_copy(skb, &segment, slot);
	return TC_ACT_UNSPEC;
}

/* Our option is the last of a header that has it, whoever wrote it. */
static __always_inline int clone_in(struct __sk_buff *skb, u32 link, bool may_drop)
{
	struct wb_segment segment = {};
	struct wb_option option = {};
	u8 wanted = TCP_FLAG_ACK | TCP_FLAG_SYN | TCP_FLAG_RST;

	if (!segment_of(skb, link, &segment) || segment.header < 20 + WB_OPTION_LEN ||
	    (segment.flags & wanted) != TCP_FLAG_ACK)
		return TC_ACT_UNSPEC;
	struct wb_connection_config *cfg = connection_config();

	if (!cfg)
		return TC_ACT_UNSPEC;
	if (bpf_skb_load_bytes(skb, segment.transport + segment.header - WB_OPTION_LEN, &option,
			       sizeof(option))) {
		count(WB_COUNT_CLONE_NONLINEAR);
		return TC_ACT_UNSPEC;
	}
	if (option.kind != cfg->option_kind || option.length != WB_OPTION_LEN ||
	    option.exid[0] != (u8)(cfg->option_exid >> 8) || option.exid[1] != (u8)cfg->option_exid)
		return TC_ACT_UNSPEC;
	if (!agent_is_alive()) {
		count(WB_COUNT_CLONE_ASLEEP);
		return TC_ACT_UNSPEC;
	}
	u64 token = option_verify(&option);

	if (!token)
		return TC_ACT_UNSPEC;
	struct wb_arrival_key key = {};

	key.seq = segment.seq;
	if (note_arrival(&key, segment.ack, token, option.flags))
		count(WB_COUNT_CLONE_ARRIVED);
	if (may_drop && (cfg->clone & WB_CLONE_DROP) && (option.flags & WB_OPTION_CLONE) &&
	    segment.flags == TCP_FLAG_ACK && !segment.payload) {
		count(WB_COUNT_CLONE_TAKEN_OFF);
		return TC_ACT_SHOT;
	}
	return TC_ACT_UNSPEC;
}

/* Devices whose packets begin with an Ethernet header, with or without VLAN tags behind it. */
SEC("tc")
int wb_clone_out(struct __sk_buff *skb)
{
	return clone_out(skb, WB_ETHERNET_HEADER);
}

SEC("tc")
int wb_clone_in(struct __sk_buff *skb)
{
	return clone_in(skb, WB_ETHERNET_HEADER, 1);
}

/* Devices that pass packets on without this host's routing: a copy may be for someone else. */
SEC("tc")
int wb_clone_in_pt(struct __sk_buff *skb)
{
	return clone_in(skb, WB_ETHERNET_HEADER, 0);
}

/* Devices whose packets begin with the IP header: tunnels. */
SEC("tc")
int wb_clone_out_ip(struct __sk_buff *skb)
{
	return clone_out(skb, WB_RAW_IP);
}

SEC("tc")
int wb_clone_in_ip(struct __sk_buff *skb)
{
	return clone_in(skb, WB_RAW_IP, 1);
}

#endif /* WB_OPTION_CLONE_BPF_H */
