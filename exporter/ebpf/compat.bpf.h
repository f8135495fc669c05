/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel's structures, as far as they are read: the loader moves each access to where the running kernel has the
 * field. What differs between kernels stands here, each with the release that changed it.
 */
#ifndef NETPROC_COMPAT_BPF_H
#define NETPROC_COMPAT_BPF_H

#define AF_INET 2
#define AF_INET6 10
#define SOCK_RAW 3
#define PF_KTHREAD 0x00200000
#define TCP_SYN_RECV 3
#define TCP_CLOSE_STATE 7
#define TCP_LISTEN_STATE 10
#define TCP_NEW_SYN_RECV_STATE 12

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

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
	unsigned long i_ino;
};
/* 6.18: f_path became const in an anonymous union; its name and type stay. */
struct file {
	struct path f_path;
	struct inode *f_inode;
};
struct mm_struct {
	struct file *exe_file;
};
typedef struct {
	__u32 val;
} kuid_t;
struct cred {
	kuid_t uid;
};
/* 5.12: net_cookie became a plain number, there from the namespace's beginning; before, an atomic one, made when asked. */
struct ns_common {
	unsigned int inum;
};
struct net {
	struct ns_common ns;
	__u64 net_cookie;
};
struct nsproxy {
	struct net *net_ns;
};
/* 5.5: real_start_time became start_boottime. */
struct task_struct {
	unsigned int flags;
	int tgid;
	__u64 start_boottime;
	struct task_struct *group_leader;
	struct task_struct *real_parent;
	struct mm_struct *mm;
	const struct cred *cred;
	struct nsproxy *nsproxy;
	char comm[16];
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
	__u32 skc_daddr;
	__u32 skc_rcv_saddr;
	__u16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
	possible_net_t skc_net;
};
/* 5.6: sk_protocol, until then a bit field of eight bits, became 16 bits wide (MPTCP is 262). */
struct sock {
	struct sock_common __sk_common;
	__u16 sk_protocol;
	__u16 sk_type;
	int sk_err;
	__u8 sk_kern_sock : 1;
};
struct inet_sock {
	struct sock sk;
	__u16 inet_sport;
};
struct udp_sock {
	struct inet_sock inet;
};
struct socket {
	struct sock *sk;
};
struct sk_buff {
	unsigned char *head;
	unsigned int end; /* an offset where a pointer has 64 bits */
};
struct skb_shared_info {
	unsigned short gso_segs;
};

struct seq_file;
struct bpf_iter_meta {
	struct seq_file *seq;
};
struct bpf_iter__task_file {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	__u32 fd;
	struct file *file;
};
struct bpf_iter__tcp {
	struct bpf_iter_meta *meta;
	struct sock_common *sk_common;
	__u32 uid;
};
struct bpf_iter__udp {
	struct bpf_iter_meta *meta;
	struct udp_sock *udp_sk;
	__u32 uid;
};

#pragma clang attribute pop

struct linux_binprm;

#endif
