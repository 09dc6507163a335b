/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Every kernel type, field and constant that the programs use, and nothing else.
 *
 * CO-RE relocates each field against the running kernel's BTF, so only names and types matter
 * here, not offsets. This list is what a new kernel must offer.
 */
#ifndef WB_KERNEL_H
#define WB_KERNEL_H

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef signed char __s8;
typedef short __s16;
typedef int __s32;
typedef long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u64 __be64;
typedef __u32 __wsum;
typedef __u16 __sum16;
typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
typedef int bool;
#define NULL ((void *)0)

/* include/uapi/linux/bpf.h: stable numbers. */
enum {
	BPF_ANY = 0,
	BPF_NOEXIST = 1,
	BPF_F_NO_PREALLOC = 1,
};
enum {
	TC_ACT_UNSPEC = -1, /* on to the next filter */
	TC_ACT_SHOT = 2,
};
enum bpf_prog_type {
	BPF_PROG_TYPE_SOCK_OPS = 13,
};
#define BPF_F_CURRENT_CPU 0xffffffffULL
enum bpf_map_type {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERF_EVENT_ARRAY = 4,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_LPM_TRIE = 11,
	BPF_MAP_TYPE_RINGBUF = 27,
};
enum {
	BPF_RB_NO_WAKEUP = 1,
	BPF_RB_FORCE_WAKEUP = 2,
	BPF_RB_AVAIL_DATA = 0,
	BPF_RB_RING_SIZE = 1,
};
enum {
	BPF_SOCK_OPS_TCP_CONNECT_CB = 3,
	BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB = 4,
	BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB = 5,
	BPF_SOCK_OPS_PARSE_HDR_OPT_CB = 13,
	BPF_SOCK_OPS_HDR_OPT_LEN_CB = 14,
	BPF_SOCK_OPS_WRITE_HDR_OPT_CB = 15,
};
enum {
	BPF_SOCK_OPS_PARSE_UNKNOWN_HDR_OPT_CB_FLAG = 32,
	BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG = 64,
	BPF_WRITE_HDR_TCP_CURRENT_MSS = 1,
};

struct bpf_sock;
struct bpf_perf_event_data;

/* Context of packet filters, include/uapi/linux/bpf.h: the verifier rewrites each access. */
struct __sk_buff {
	__u32 len;
	__u32 pkt_type;
	__u32 mark;
	__u32 queue_mapping;
	__u32 protocol; /* network byte order */
	__u32 vlan_present;
	__u32 vlan_tci;
	__u32 vlan_proto;
	__u32 priority;
	__u32 ingress_ifindex;
	__u32 ifindex;
	__u32 tc_index;
	__u32 cb[5];
	__u32 hash;
	__u32 tc_classid;
	__u32 data;
	__u32 data_end;
};

/* Context of sock_ops programs, include/uapi/linux/bpf.h: the verifier rewrites each access. */
struct bpf_sock_ops {
	__u32 op;
	union {
		__u32 args[4];
		__u32 reply;
		__u32 replylong[4];
	};
	__u32 family;
	__u32 remote_ip4; /* network byte order */
	__u32 local_ip4;
	__u32 remote_ip6[4];
	__u32 local_ip6[4];
	__u32 remote_port; /* network byte order */
	__u32 local_port; /* host byte order */
	__u32 is_fullsock;
	__u32 snd_cwnd;
	__u32 srtt_us;
	__u32 bpf_sock_ops_cb_flags;
	__u32 state;
	__u32 rtt_min;
	__u32 snd_ssthresh;
	__u32 rcv_nxt;
	__u32 snd_nxt;
	__u32 snd_una;
	__u32 mss_cache;
	__u32 ecn_flags;
	__u32 rate_delivered;
	__u32 rate_interval_us;
	__u32 packets_out;
	__u32 retrans_out;
	__u32 total_retrans;
	__u32 segs_in;
	__u32 data_segs_in;
	__u32 segs_out;
	__u32 data_segs_out;
	__u32 lost_out;
	__u32 sacked_out;
	__u32 sk_txhash;
	__u64 bytes_received;
	__u64 bytes_acked;
	union {
		struct bpf_sock *sk;
		__u64 : 64;
	} __attribute__((aligned(8)));
	union {
		void *skb_data;
		__u64 : 64;
	} __attribute__((aligned(8)));
	union {
		void *skb_data_end;
		__u64 : 64;
	} __attribute__((aligned(8)));
	__u32 skb_len;
	__u32 skb_tcp_flags;
};

/* Argument block of raw tracepoints. */
struct bpf_raw_tracepoint_args {
	__u64 args[0];
};

/* include/net/tcp_states.h and include/linux/socket.h: part of the user-space interface. */
enum {
	TCP_ESTABLISHED = 1,
	TCP_SYN_SENT = 2,
	TCP_SYN_RECV = 3,
	TCP_FIN_WAIT1 = 4,
	TCP_FIN_WAIT2 = 5,
	TCP_CLOSE = 7,
	TCP_CLOSE_WAIT = 8,
	TCP_LAST_ACK = 9,
	TCP_LISTEN = 10,
	TCP_CLOSING = 11,
	TCP_NEW_SYN_RECV = 12,
};
#define AF_INET 2
#define AF_INET6 10
#define IPPROTO_TCP 6
#define ENOSPC 28
#define S_IFMT 0170000
#define S_IFSOCK 0140000
#define TCP_FLAG_FIN 0x01
#define TCP_FLAG_SYN 0x02
#define TCP_FLAG_RST 0x04
#define TCP_FLAG_ACK 0x10
/* Network byte order as it is read from a packet on a little-endian machine. */
#define ETH_P_IP_BE __builtin_bswap16(0x0800)
#define ETH_P_IPV6_BE __builtin_bswap16(0x86dd)
#define ETH_P_8021Q_BE __builtin_bswap16(0x8100)
#define ETH_P_8021AD_BE __builtin_bswap16(0x88a8)

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct ns_common {
	unsigned int inum;
};
struct net {
	struct ns_common ns;
};
typedef struct {
	struct net *net;
} possible_net_t;
struct in6_addr {
	union {
		__u8 u6_addr8[16];
	} in6_u;
};
struct sock_common {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
	unsigned long skc_flags;
};

struct socket;
struct kernfs_node {
	u64 id;
};
struct cgroup {
	int level;
	struct kernfs_node *kn;
	struct cgroup *ancestors[]; /* since 6.1, commit 7f203bc89eb6 */
};
struct sock_cgroup_data {
	struct cgroup *cgroup; /* since 5.15, commit 8520e224f547 */
};
typedef struct {
	int owned;
} socket_lock_t;
struct sock {
	struct sock_common __sk_common;
	struct socket *sk_socket;
	u32 sk_ack_backlog;
	socket_lock_t sk_lock;
	int sk_err;
	u16 sk_protocol;
	struct sock_cgroup_data sk_cgrp_data;
};
struct request_sock_queue {
	u8 rskq_defer_accept;
};
struct inet_sock {
	__be16 inet_sport;
};
struct inet_connection_sock {
	struct inet_sock icsk_inet;
	struct request_sock_queue icsk_accept_queue;
};
struct minmax_sample {
	u32 v;
};
struct minmax {
	struct minmax_sample s[3];
};
struct tcp_sack_block {
	u32 start_seq;
	u32 end_seq;
};
struct tcp_sock {
	struct inet_connection_sock inet_conn;
	struct tcp_sack_block duplicate_sack[1];
	u32 rcv_nxt;
	u32 snd_nxt;
	u32 snd_una;
	void *md5sig_info; /* with CONFIG_TCP_MD5SIG */
	void *ao_info; /* since 6.7 with CONFIG_TCP_AO, commit 4954f17ddefc */
	u32 srtt_us; /* eighths of a microsecond */
	struct minmax rtt_min;
	u64 bytes_received;
	u64 bytes_acked;
	u64 bytes_sent; /* since 4.19, commit ba113c3aa79a */
	u64 bytes_retrans; /* since 4.19, commit fb31c9b9f6c8 */
	u32 segs_in;
	u32 segs_out;
	u32 total_retrans;
	u32 rcv_ooopack; /* since 5.4, commit f9af2dbbfe01 */
};
enum sock_flags {
	SOCK_DONE = 1,
};
struct sk_buff {
	unsigned char *data;
};
struct tcphdr {
	__be16 window;
};

struct qstr {
	const unsigned char *name;
};
struct dentry {
	struct qstr d_name;
};
struct path {
	struct dentry *dentry;
};
struct inode {
	u16 i_mode;
	unsigned long i_ino;
};
struct file {
	struct path f_path;
	struct inode *f_inode;
	void *private_data;
};
struct socket {
	struct file *file;
	struct sock *sk;
};
struct mm_struct {
	struct file *exe_file;
};
struct css_set {
	struct cgroup *dfl_cgrp;
};
struct task_struct {
	int tgid;
	struct task_struct *group_leader;
	u64 start_boottime; /* since 5.5, commit cf25e24db61c */
	char comm[16];
	struct mm_struct *mm;
	struct css_set *cgroups;
};

struct seq_file;
struct bpf_map;
struct bpf_iter_meta {
	struct seq_file *seq;
	u64 session_id;
	u64 seq_num;
};
struct bpf_iter__bpf_map_elem {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
	void *key;
	void *value;
};
struct bpf_iter__task_file {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	u32 fd;
	struct file *file;
};
struct bpf_prog_aux {
	u32 id;
	char name[16]; /* BPF_OBJ_NAME_LEN, since 4.15 */
};
struct bpf_prog {
	enum bpf_prog_type type;
	struct bpf_prog_aux *aux;
};
struct bpf_iter__bpf_prog {
	struct bpf_iter_meta *meta;
	struct bpf_prog *prog;
};

#pragma clang attribute pop

#endif /* WB_KERNEL_H */
