/* SPDX-License-Identifier: GPL-2.0-only */
/* What is read of a socket and of a task. */
#ifndef NETPROC_SOCK_BPF_H
#define NETPROC_SOCK_BPF_H

static __always_inline int is_inet(const struct sock *sk)
{
	__u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);

	return family == AF_INET || family == AF_INET6;
}

static __always_inline void address(__u8 *to, const struct in6_addr *from)
{
	const __u32 *in = (const __u32 *)from->in6_u.u6_addr8;
	__u32 *out = (__u32 *)to;

	if (in[0] == 0 && in[1] == 0 && in[2] == __builtin_bswap32(0xffff)) {
		out[0] = in[3];
	} else {
		out[0] = in[0];
		out[1] = in[1];
		out[2] = in[2];
		out[3] = in[3];
	}
}

/* The key that its packets have, but for the cookie. */
static __always_inline void ends_of(struct key *key, const struct sock *sk)
{
	struct in6_addr in = {};

	key->transport = BPF_CORE_READ(sk, sk_protocol);
	key->family = 4;
	if (BPF_CORE_READ(sk, __sk_common.skc_family) == AF_INET) {
		*(__u32 *)key->local = BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr);
		*(__u32 *)key->remote = BPF_CORE_READ(sk, __sk_common.skc_daddr);
	} else {
		BPF_CORE_READ_INTO(&in, sk, __sk_common.skc_v6_daddr);
		if (*(__u64 *)&in || *((__u32 *)&in + 2) != __builtin_bswap32(0xffff))
			key->family = 6;
		address(key->remote, &in);
		BPF_CORE_READ_INTO(&in, sk, __sk_common.skc_v6_rcv_saddr);
		address(key->local, &in);
	}
	key->rport = __builtin_bswap16(BPF_CORE_READ(sk, __sk_common.skc_dport));
	/* skc_num is given back before the state becomes closed; this one stays. */
	key->lport = __builtin_bswap16(BPF_CORE_READ((const struct inet_sock *)sk, inet_sport));
}

static __always_inline __u64 netns_of(const struct sock *sk)
{
	return BPF_CORE_READ(sk, __sk_common.skc_net.net, net_cookie);
}

/* The process, not the thread. */
static __always_inline struct task_struct *leader(void)
{
	return BPF_CORE_READ((struct task_struct *)bpf_get_current_task(), group_leader);
}

static __always_inline void own_current(struct owner *owner, __u8 origin)
{
	owner->tgid = bpf_get_current_pid_tgid() >> 32;
	owner->uid = bpf_get_current_uid_gid();
	owner->cgroup = bpf_get_current_cgroup_id();
	owner->start = settings.task_helpers ? BPF_CORE_READ(leader(), start_boottime) : 0;
	owner->origin = origin;
}

#endif
