/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Injection mode `sockops`: the kernel's own TCP stack writes the option (5.10, and backports).
 *
 * Rules, each one measured to be needed:
 * - The handshake ACK carries the option: a pure ACK is redundant, so a box that drops it costs
 *   nothing as long as the client speaks first.
 * - Never on SYN (it hangs behind boxes that drop it), FIN or RST, never on a retransmission,
 *   never where a full-size segment would grow, and the MSS is never shrunk: reserving on a
 *   full-size segment without lowering the MSS makes packets that IP drops.
 * - Callbacks are switched off per socket as soon as they have nothing to do.
 */
#ifndef WB_OPTION_SOCKOPS_BPF_H
#define WB_OPTION_SOCKOPS_BPF_H

#include "life.bpf.h"
#include "option.bpf.h"
#include "path.bpf.h"
#include "sock.bpf.h"

/* Segments with unknown options that are looked at before giving up on a connection. */
#define WB_PARSE_ATTEMPTS 8
/* A SYN-ACK is repeated after 1, 3 and 7 s (RFC 6298); later pure ACKs prove nothing. */
#define WB_WATCH_NS (8ULL * 1000000000ULL)
/* Who was left in peace for so long had its handshake ACK taken. */
#define WB_PEACE_NS (1500ULL * 1000000ULL)

/* Sets callback flags and remembers which of them nobody had set before us. */
static __always_inline void set_callbacks(struct bpf_sock_ops *ctx, struct wb_connection *conn,
					  u8 flags)
{
	u32 now = ctx->bpf_sock_ops_cb_flags;

	conn->own_cb_flags |= flags & ~now;
	bpf_sock_ops_cb_flags_set(ctx, now | flags);
}

/* Clears only flags that are ours: another program on the same socket keeps its own. */
static __always_inline void clear_callbacks(struct bpf_sock_ops *ctx, struct wb_connection *conn,
					    struct wb_connection_config *cfg, u8 flags)
{
	u32 now = ctx->bpf_sock_ops_cb_flags;
	u8 ours = conn->own_cb_flags & flags;

	conn->own_cb_flags &= ~ours;
	if (ours && !cfg->keep_cb_flags)
		bpf_sock_ops_cb_flags_set(ctx, now & ~(u32)ours);
}

static __always_inline void stop_writing(struct bpf_sock_ops *ctx, struct wb_connection *conn,
					 struct wb_connection_config *cfg)
{
	conn->write_state = WB_WRITE_OFF;
	clear_callbacks(ctx, conn, cfg, BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG);
}

/* The option did not leave, and will not. */
static __always_inline void give_up_writing(struct bpf_sock_ops *ctx, struct wb_connection *conn,
					    struct wb_connection_config *cfg)
{
	if (conn->write_state == WB_WRITE_WANTED)
		count(WB_COUNT_OPTION_UNSENT);
	stop_writing(ctx, conn, cfg);
}

static __always_inline void peer_of(struct bpf_sock_ops *ctx, u8 *addr)
{
	if (ctx->family == AF_INET6) {
		/* volatile: the verifier refuses the 64-bit context loads clang would make. */
		volatile u32 *remote = ctx->remote_ip6;
		u32 word[4];

		word[0] = remote[0];
		word[1] = remote[1];
		word[2] = remote[2];
		word[3] = remote[3];
		__builtin_memcpy(addr, word, 16);
	} else {
		map_ipv4(addr, ctx->remote_ip4);
	}
}

static __always_inline void path_key_of(struct wb_path_key *key, struct bpf_sock_ops *ctx,
					struct tcp_sock *tp, struct wb_connection *conn)
{
	/* volatile: the verifier refuses one load through a chosen pointer. */
	u32 remote_port = *(volatile u32 *)&ctx->remote_port;
	u32 local_port = *(volatile u32 *)&ctx->local_port;

	peer_of(ctx, key->addr);
	key->role = conn->role;
	key->port = conn->role == WB_ROLE_SERVER ? local_port : __builtin_bswap32(remote_port);
	/* tp is a trusted pointer, so this is a plain load even where probe reads are not
	 * available to sock_ops programs. */
	struct sock *sk = (struct sock *)tp;

	if (bpf_core_field_exists(sk->__sk_common.skc_net.net))
		key->netns = sk->__sk_common.skc_net.net->ns.inum;
}

/* Whether a connection may carry the option to its peer; each refusal is counted. */
static __always_inline u32 may_write(struct bpf_sock_ops *ctx, struct wb_path_key *path)
{
	struct wb_prefix prefix = {};

	prefix.length = 128;
	__builtin_memcpy(prefix.addr, path->addr, sizeof(prefix.addr));
	u32 *allowed = bpf_map_lookup_elem(&destinations, &prefix);

	if (!allowed || !*allowed) {
		count(WB_COUNT_OPTION_NOT_ALLOWED);
		return WB_PATH_VERDICT_OFF;
	}
	u32 verdict = path_verdict(path, ctx->total_retrans > 0);

	if (verdict < WB_PATH_VERDICT_WRITE)
		count(WB_COUNT_OPTION_PATH_OFF);
	return verdict;
}

/* Reads the option of the segment at hand. 0 = none, or one that is refused. */
static __always_inline u64 read_option(struct bpf_sock_ops *ctx, struct wb_connection_config *cfg,
				       u8 *flags, bool *refused)
{
	struct wb_option option = {};

	/* The kernel compares kind and, with length 4, the 16-bit ExID (bpf_load_hdr_opt). */
	option.kind = cfg->option_kind;
	option.length = 4;
	option.exid[0] = cfg->option_exid >> 8;
	option.exid[1] = cfg->option_exid;
	long length = bpf_load_hdr_opt(ctx, &option, sizeof(option), 0);

	if (length == -42) /* ENOMSG: no such option */
		return 0;
	if (length != WB_OPTION_LEN) {
		count(WB_COUNT_OPTION_MALFORMED);
		*refused = 1;
		return 0;
	}
	u64 token = option_verify(&option);

	*flags = option.flags;
	*refused = !token;
	return token;
}

static __always_inline bool take_option(struct bpf_sock_ops *ctx, struct wb_connection *conn,
					struct wb_connection_config *cfg)
{
	u8 flags = 0;
	bool refused = 0;
	u64 token = read_option(ctx, cfg, &flags, &refused);

	if (refused)
		conn->flags |= WB_FLAG_OPEN_QUESTION;
	if (!token)
		return 0;
	conn->token_received = token;
	if (flags & WB_OPTION_ANSWER)
		conn->flags |= WB_FLAG_ANSWER_RECEIVED;
	if (flags & WB_OPTION_BARE)
		conn->flags |= WB_FLAG_BARE_RECEIVED;
	count(WB_COUNT_OPTION_READ);
	return 1;
}

/* Payload bytes of the segment that ended the handshake. */
static __always_inline u32 handshake_payload(struct bpf_sock_ops *ctx)
{
	u8 *data = ctx->skb_data;
	u8 *end = ctx->skb_data_end;
	u32 length = ctx->skb_len;

	if (data + 20 > end)
		return 0;
	u32 header = (data[12] >> 4) * 4;

	return length > header ? length - header : 0;
}

/*
 * What the table still has when a connection begins is of another one. Nothing comes before it in
 * the life of an accepted socket, and before connect SYN_SENT does, whose entry is young.
 */
static __always_inline void leave_behind(struct bpf_sock_ops *ctx, struct tcp_sock *tp,
					 bool connects)
{
	u64 key = (u64)tp;
	struct wb_connection *old = bpf_map_lookup_elem(&connections, &key);

	if (old && (!connects || old->flags & WB_FLAG_ESTABLISHED))
		give_up(ctx, key, old);
}

/*
 * SYNs that crossed end in PASSIVE_ESTABLISHED_CB at both ends (tcp_rcv_state_process(), SYN_RECV),
 * though both called connect(). Neither's ACK is the handshake's last, so no option is written.
 */
static __always_inline bool has_connected(struct bpf_sock_ops *ctx, struct tcp_sock *tp)
{
	u64 key = (u64)tp;
	struct wb_connection *conn = bpf_map_lookup_elem(&connections, &key);
	u32 remote_port = ctx->remote_port;

	return conn && conn->role == WB_ROLE_CLIENT && !(conn->flags & WB_FLAG_ESTABLISHED) &&
	       conn->tuple.remote_port == __builtin_bswap32(remote_port);
}

static __always_inline void on_sockops_connect(struct bpf_sock_ops *ctx, struct tcp_sock *tp)
{
	leave_behind(ctx, tp, 1);
	connection_of((u64)tp, WB_ROLE_CLIENT);
}

/* The handshake ACK is the next segment to leave. A repeated SYN is no reason to leave it bare. */
static __always_inline void on_sockops_connected(struct bpf_sock_ops *ctx, struct tcp_sock *tp,
						 struct wb_connection_config *cfg)
{
	u64 key = (u64)tp;
	struct wb_connection *conn = bpf_map_lookup_elem(&connections, &key);
	u8 callbacks = BPF_SOCK_OPS_PARSE_UNKNOWN_HDR_OPT_CB_FLAG;
	struct wb_path_key path = {};

	if (!conn)
		return;
	conn->handshake_retransmits = ctx->total_retrans;
	conn->parse_left = WB_PARSE_ATTEMPTS;
	path_key_of(&path, ctx, tp, conn);
	u32 verdict = cfg->option_write ? may_write(ctx, &path) : WB_PATH_VERDICT_OFF;

	if (verdict != WB_PATH_VERDICT_OFF) {
		conn->write_state =
			verdict == WB_PATH_VERDICT_CONTROL ? WB_WRITE_CONTROL : WB_WRITE_WANTED;
		callbacks |= BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG;
	}
	set_callbacks(ctx, conn, callbacks);
}

static __always_inline void on_sockops_accepted(struct bpf_sock_ops *ctx, struct tcp_sock *tp,
						struct wb_connection_config *cfg)
{
	u64 key = (u64)tp;
	struct wb_connection *conn;
	u8 callbacks = BPF_SOCK_OPS_PARSE_UNKNOWN_HDR_OPT_CB_FLAG;
	u8 write_state = WB_WRITE_WANTED;
	struct wb_path_key path = {};

	if (has_connected(ctx, tp))
		return;
	leave_behind(ctx, tp, 0);
	conn = connection_of(key, WB_ROLE_SERVER);
	if (!conn)
		return;
	conn->role = WB_ROLE_SERVER;
	conn->handshake_retransmits = ctx->total_retrans;
	path_key_of(&path, ctx, tp, conn);
	if (take_option(ctx, conn, cfg)) {
		path_arrived(&path);
		return;
	}
	conn->parse_left = WB_PARSE_ATTEMPTS;
	if (handshake_payload(ctx)) {
		conn->flags |= WB_FLAG_ACK_MISSING;
		/* Whether the listener wanted it so is asked in a moment, at ESTABLISHED. */
		if (!path_lets_in(&path))
			write_state = WB_WRITE_IF_DEFERRED;
	}
	u32 verdict = cfg->option_write && cfg->option_answer ? may_write(ctx, &path) :
								WB_PATH_VERDICT_OFF;

	if (verdict != WB_PATH_VERDICT_OFF) {
		conn->write_state = write_state;
		callbacks |= BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG;
	}
	if (verdict == WB_PATH_VERDICT_TRACK)
		conn->flags |= WB_FLAG_TRACKED;
	set_callbacks(ctx, conn, callbacks);
}

static __always_inline void on_sockops_parse(struct bpf_sock_ops *ctx, struct tcp_sock *tp,
					     struct wb_connection_config *cfg)
{
	u64 key = (u64)tp;
	struct wb_connection *conn = bpf_map_lookup_elem(&connections, &key);
	struct wb_path_key path = {};

	/* Where flags are never cleared, this goes on to be called. */
	if (!conn || !conn->parse_left)
		return;
	if (take_option(ctx, conn, cfg)) {
		conn->parse_left = 0;
		if (conn->role == WB_ROLE_SERVER) {
			/* It came late, but it came: no answer is needed. */
			if (conn->write_state == WB_WRITE_WANTED)
				stop_writing(ctx, conn, cfg);
		} else if (conn->flags & WB_FLAG_TOKEN_SENT &&
			   conn->flags & WB_FLAG_BARE_RECEIVED &&
			   !(conn->flags & WB_FLAG_OPEN_QUESTION)) {
			path_key_of(&path, ctx, tp, conn);
			path_stripped(&path, conn->established_ns, cfg);
		}
	} else {
		conn->parse_left--;
	}
	if (!conn->parse_left)
		clear_callbacks(ctx, conn, cfg, BPF_SOCK_OPS_PARSE_UNKNOWN_HDR_OPT_CB_FLAG);
}

enum wb_outcome {
	WB_OUTCOME_PENDING = 0,
	WB_OUTCOME_UNKNOWN = 1, /* and will stay so */
	WB_OUTCOME_PASSED = 2,
	WB_OUTCOME_FAILED = 3,
};

/*
 * A client's segment after the one that carried the option, or would have: was that one taken? The
 * signs: the peer repeats its SYN-ACK, so we send a second pure ACK although no data came; or data
 * that carried the option had to be sent again.
 */
static __always_inline u32 client_outcome(struct bpf_sock_ops *ctx, struct wb_connection *conn)
{
	u64 since = bpf_ktime_get_ns() - conn->established_ns;
	bool on_data = conn->flags & WB_FLAG_ON_DATA ? 1 : 0;

	if (ctx->total_retrans > conn->handshake_retransmits)
		return on_data && ctx->bytes_acked <= 1 ? WB_OUTCOME_FAILED : WB_OUTCOME_UNKNOWN;
	/* The peer spoke first, so it had taken the handshake ACK; or it had data that carried it. */
	if (ctx->bytes_acked > 1)
		return on_data ? WB_OUTCOME_PASSED : WB_OUTCOME_UNKNOWN;
	if (ctx->bytes_received || since > WB_WATCH_NS)
		return WB_OUTCOME_PASSED;
	if (ctx->skb_len)
		return since > WB_PEACE_NS ? WB_OUTCOME_PASSED : WB_OUTCOME_PENDING;
	if (ctx->data_segs_in)
		return WB_OUTCOME_PENDING;
	conn->flags |= WB_FLAG_OPEN_QUESTION;
	/* Where the SYN had to be repeated, so had the SYN-ACK, and both may have come. */
	return conn->handshake_retransmits ? WB_OUTCOME_UNKNOWN : WB_OUTCOME_FAILED;
}

/* What became of a client's option is told to its path. True when there is nothing more to watch. */
static __always_inline bool watch_client(struct bpf_sock_ops *ctx, struct tcp_sock *tp,
					 struct wb_connection *conn,
					 struct wb_connection_config *cfg)
{
	u32 outcome = client_outcome(ctx, conn);
	struct wb_path_key path = {};

	if (outcome == WB_OUTCOME_PENDING)
		return 0;
	if (outcome == WB_OUTCOME_UNKNOWN)
		return 1;
	path_key_of(&path, ctx, tp, conn);
	if (!(conn->flags & WB_FLAG_TOKEN_SENT))
		path_control(&path, outcome == WB_OUTCOME_PASSED);
	else if (outcome == WB_OUTCOME_PASSED)
		path_passed(&path);
	else
		path_failed(&path, conn->established_ns,
			    conn->flags & WB_FLAG_ON_DATA ? WB_PATH_DATA_LOST :
							    WB_PATH_HANDSHAKE_LOST,
			    cfg);
	return 1;
}

/*
 * A server's segment after its answer, which rode on the ACK of the peer's first data. When that
 * ACK is lost the peer repeats the data, and tcp_dsack_set() has noted the duplicate.
 */
static __always_inline void watch_server(struct bpf_sock_ops *ctx, struct tcp_sock *tp,
					 struct wb_connection *conn,
					 struct wb_connection_config *cfg)
{
	struct wb_path_key path = {};

	if (ctx->total_retrans > conn->handshake_retransmits || ctx->skb_len ||
	    !tp->duplicate_sack[0].end_seq)
		return;
	path_key_of(&path, ctx, tp, conn);
	path_failed(&path, conn->established_ns, WB_PATH_ANSWER_LOST, cfg);
}

/* True when there is nothing more to watch or write. */
static __always_inline bool watch_path(struct bpf_sock_ops *ctx, struct tcp_sock *tp,
				       struct wb_connection *conn, struct wb_connection_config *cfg)
{
	if (conn->role == WB_ROLE_CLIENT)
		return watch_client(ctx, tp, conn, cfg);
	watch_server(ctx, tp, conn, cfg);
	return 1;
}

/*
 * Data carries the option only if the operator wants it, or if the client's first data is the
 * handshake ACK: a writer that waited for the connection sends both in one segment
 * (tcp_rcv_synsent_state_process, sk_write_pending).
 */
static __always_inline bool may_ride_on_data(struct bpf_sock_ops *ctx, struct wb_connection *conn,
					     struct wb_connection_config *cfg)
{
	if (cfg->option_on_data)
		return 1;
	return conn->role == WB_ROLE_CLIENT && !ctx->data_segs_out;
}

static __always_inline void on_sockops_length(struct bpf_sock_ops *ctx, struct tcp_sock *tp,
					      struct wb_connection_config *cfg)
{
	u64 key = (u64)tp;
	struct wb_connection *conn;
	u32 payload = ctx->skb_len;

	if (ctx->args[0] == BPF_WRITE_HDR_TCP_CURRENT_MSS)
		return;
	if (ctx->skb_tcp_flags & TCP_FLAG_SYN)
		return;
	conn = bpf_map_lookup_elem(&connections, &key);
	if (!conn)
		return;
	if (conn->write_state == WB_WRITE_OFF || conn->write_state == WB_WRITE_IF_DEFERRED ||
	    ctx->skb_tcp_flags & (TCP_FLAG_FIN | TCP_FLAG_RST)) {
		give_up_writing(ctx, conn, cfg);
		return;
	}
	if (conn->write_state == WB_WRITE_WATCHING) {
		if (watch_path(ctx, tp, conn, cfg)) {
			stop_writing(ctx, conn, cfg);
			return;
		}
		if (!payload || !cfg->option_on_data || !(conn->flags & WB_FLAG_TOKEN_SENT))
			return;
	} else if (conn->role == WB_ROLE_CLIENT && ctx->bytes_received) {
		/* Not the handshake's ACK any more. */
		give_up_writing(ctx, conn, cfg);
		return;
	} else if (ctx->total_retrans > conn->handshake_retransmits) {
		give_up_writing(ctx, conn, cfg);
		return;
	}
	if (payload &&
	    (!may_ride_on_data(ctx, conn, cfg) || payload + WB_OPTION_LEN > ctx->mss_cache))
		return;
	if (conn->write_state == WB_WRITE_CONTROL) {
		conn->write_state = WB_WRITE_WATCHING;
	} else if (bpf_reserve_hdr_opt(ctx, WB_OPTION_LEN, 0)) {
		count(WB_COUNT_OPTION_NO_ROOM);
		stop_writing(ctx, conn, cfg);
		return;
	} else {
		conn->flags |= WB_FLAG_ROOM;
	}
	if (payload)
		conn->flags |= WB_FLAG_ON_DATA;
}

static __always_inline void on_sockops_write(struct bpf_sock_ops *ctx, struct tcp_sock *tp,
					     struct wb_connection_config *cfg)
{
	u64 key = (u64)tp;
	struct wb_connection *conn = bpf_map_lookup_elem(&connections, &key);
	struct wb_option option = {};

	if (!conn || conn->write_state == WB_WRITE_OFF || ctx->skb_tcp_flags & TCP_FLAG_SYN)
		return;
	/* Called for every segment on which anybody asked for room: what is not ours stays theirs. */
	if (!(conn->flags & WB_FLAG_ROOM))
		return;
	conn->flags &= ~WB_FLAG_ROOM;
	if (!conn->token_sent)
		conn->token_sent = new_token();
	u8 flags = 0;

	if (conn->role == WB_ROLE_SERVER) {
		flags = WB_OPTION_ANSWER;
		if (!(conn->flags & (WB_FLAG_ACK_MISSING | WB_FLAG_OPEN_QUESTION)))
			flags |= WB_OPTION_BARE;
	}
	if (!option_build(&option, cfg, conn->token_sent, flags) ||
	    bpf_store_hdr_opt(ctx, &option, sizeof(option), 0)) {
		count(WB_COUNT_OPTION_STORE_FAILED);
		return;
	}
	count(WB_COUNT_OPTION_WRITTEN);
	conn->flags |= WB_FLAG_TOKEN_SENT | (flags ? WB_FLAG_ANSWER_SENT : 0);
	conn->write_state = WB_WRITE_WATCHING;
	/* A duplicate that came before says nothing of the answer. */
	if (conn->role == WB_ROLE_SERVER &&
	    (!(conn->flags & WB_FLAG_TRACKED) || tp->duplicate_sack[0].end_seq))
		conn->write_state = WB_WRITE_OFF;
}

/*
 * Attached to the scope's cgroup with BPF_F_ALLOW_MULTI, so it runs beside others. Runs under the
 * socket lock. Never touches ctx->reply, which is shared with them.
 */
SEC("sockops")
int wb_conn_option(struct bpf_sock_ops *ctx)
{
	u32 op = ctx->op;

	if (op != BPF_SOCK_OPS_TCP_CONNECT_CB && op != BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB &&
	    op != BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB && op < BPF_SOCK_OPS_PARSE_HDR_OPT_CB)
		return 1;
	/* Loaded once into a local: a second load would be a second, unchecked pointer. */
	struct bpf_sock *sk = ctx->sk;
	struct wb_connection_config *cfg = connection_config();

	if (!sk || !cfg)
		return 1;
#ifdef WB_FAULT_VERIFIER
	/* A helper of 6.1: older kernels refuse the program. */
	if (!bpf_ktime_get_tai_ns())
		return 1;
#endif
	struct tcp_sock *tp = (struct tcp_sock *)bpf_skc_to_tcp_sock(sk);

	if (!tp)
		return 1;
	if (op == BPF_SOCK_OPS_TCP_CONNECT_CB) {
		on_sockops_connect(ctx, tp);
	} else if (op == BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB) {
		on_sockops_connected(ctx, tp, cfg);
	} else if (op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB) {
		on_sockops_accepted(ctx, tp, cfg);
	} else if (op == BPF_SOCK_OPS_PARSE_HDR_OPT_CB) {
		on_sockops_parse(ctx, tp, cfg);
	} else if (op == BPF_SOCK_OPS_HDR_OPT_LEN_CB) {
		on_sockops_length(ctx, tp, cfg);
	} else if (op == BPF_SOCK_OPS_WRITE_HDR_OPT_CB) {
		on_sockops_write(ctx, tp, cfg);
	}
	return 1;
}

#endif /* WB_OPTION_SOCKOPS_BPF_H */
