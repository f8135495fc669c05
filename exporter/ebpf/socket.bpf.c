// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who owns a socket, and in which state it is. The owner stands in the socket's own storage, from its creation on and
 * for as long as it lives; a process is told of once, when it makes its first socket or executes another program.
 */
#include <linux/bpf.h>
#include <linux/in.h>
#include <linux/errno.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#include "shared.h"
#include "compat.bpf.h"
#include "maps.bpf.h"
#include "sock.bpf.h"

#define ALLOW 1
#define MANY_CHANGES 16
#define EVENTS (1 << 18)

__u64 lost_events = 0;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, EVENTS);
} events SEC(".maps");

/* Processes told of: start by tgid. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, __u64);
} told SEC(".maps");

/* The reader looks by itself when it is asked; it must be woken where the ring would else be full. */
static __always_inline __u64 wake_late(void)
{
	return bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) >= EVENTS / 4 ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP;
}

/* ------------------------------------------------------------------------------------------------- processes */

static __always_inline void describe(struct process *process)
{
	struct task_struct *task = leader();

	process->ppid = BPF_CORE_READ(task, real_parent, tgid);
	BPF_CORE_READ_STR_INTO(&process->comm, task, comm);
	bpf_probe_read_kernel_str(process->executable, sizeof(process->executable),
				  BPF_CORE_READ(task, mm, exe_file, f_path.dentry, d_name.name));
}

static __always_inline int tell(const struct owner *owner, __u32 kind, __u64 cookie)
{
	struct process *process = bpf_ringbuf_reserve(&events, sizeof(*process), 0);

	if (!process) {
		ail(LOST_EVENTS, 1);
		__sync_fetch_and_add(&lost_events, 1);
		return 0;
	}
	__builtin_memset(process, 0, sizeof(*process));
	process->kind = kind;
	process->tgid = owner->tgid;
	process->time = bpf_ktime_get_ns();
	process->start = owner->start;
	process->cgroup = owner->cgroup;
	process->uid = owner->uid;
	process->cookie = cookie;
	if (kind != EVENT_CLOSE && settings.task_helpers)
		describe(process);
	/* A process may be gone in a moment: what procfs has of it is read at once. */
	bpf_ringbuf_submit(process, kind == EVENT_CLOSE ? wake_late() : BPF_RB_FORCE_WAKEUP);
	return 1;
}

static __always_inline void introduce(const struct owner *owner)
{
	__u32 tgid = owner->tgid;
	__u64 start = owner->start, *known = bpf_map_lookup_elem(&told, &tgid);

	if (known && *known == start)
		return;
	if (tell(owner, EVENT_PROCESS, 0))
		bpf_map_update_elem(&told, &tgid, &start, BPF_ANY);
}

SEC("tp_btf/sched_process_exec") int BPF_PROG(on_exec, struct task_struct *task)
{
	struct owner owner = {};

	own_current(&owner, ORIGIN_NONE);
	if (bpf_map_lookup_elem(&told, &owner.tgid))
		tell(&owner, EVENT_EXEC, 0);
	return 0;
}

/* --------------------------------------------------------------------------------------------------- creation */

SEC("cgroup/sock_create") int on_create(struct bpf_sock *sk)
{
	struct owner *owner = bpf_sk_storage_get(&owners, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);

	if (!owner)
		return ALLOW;
	owner->netns = bpf_get_netns_cookie(sk);
	own_current(owner, ORIGIN_CREATED);
	if (settings.task_helpers)
		owner->space = BPF_CORE_READ((struct task_struct *)bpf_get_current_task(), nsproxy, net_ns, ns.inum);
	introduce(owner);
	return ALLOW;
}

/* A TCP socket whose ends were not told tells its end by its state only. */
SEC("cgroup/sock_release") int on_release(struct bpf_sock *sk)
{
	struct owner *owner;

	if (sk->protocol != IPPROTO_UDP && sk->protocol != IPPROTO_TCP)
		return ALLOW;
	owner = bpf_sk_storage_get(&owners, sk, 0, 0);
	if (owner && (owner->said || sk->protocol == IPPROTO_UDP))
		tell(owner, EVENT_CLOSE, bpf_get_socket_cookie(sk));
	return ALLOW;
}

/* ------------------------------------------------------------------------------------------------------- ends */

static __always_inline void emit_ends(const struct owner *owner, const struct key *key, __u64 time)
{
	struct ends *ends;

	ends = bpf_ringbuf_reserve(&events, sizeof(*ends), 0);
	if (!ends) {
		ail(LOST_EVENTS, 1);
		__sync_fetch_and_add(&lost_events, 1);
		return;
	}
	__builtin_memset(ends, 0, sizeof(*ends));
	ends->kind = EVENT_ENDS;
	ends->tgid = owner->tgid;
	ends->time = time;
	ends->start = owner->start;
	ends->lost = lost_events;
	ends->key = *key;
	ends->space = owner->space;
	ends->origin = owner->origin;
	bpf_ringbuf_submit(ends, wake_late());
}

static __always_inline void tell_ends(struct owner *owner, const struct key *key)
{
	owner->said |= key->rport ? SAID_ENDS : SAID_BOUND;
	emit_ends(owner, key, bpf_ktime_get_ns());
}

/* An IPv4-mapped address is IPv4; so is the local end of a socket whose remote end is one. */
static __always_inline int is_mapped(const __u32 *words)
{
	return words[0] == 0 && words[1] == 0 && words[2] == __builtin_bswap32(0xffff);
}

/* TCP: a connection that is about to send its first SYN, and one that a listener has got. */
SEC("sockops") int on_connection(struct bpf_sock_ops *context)
{
	struct key key = {.transport = IPPROTO_TCP, .family = 4};
	__u32 *local = (__u32 *)key.local, *remote = (__u32 *)key.remote;
	struct bpf_sock *sk = context->sk;
	struct owner *owner;

	if (!sk || (context->op != BPF_SOCK_OPS_TCP_CONNECT_CB && context->op != BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB))
		return ALLOW;
	owner = bpf_sk_storage_get(&owners, sk, 0, 0);
	if (!owner || owner->origin == ORIGIN_KERNEL)
		return ALLOW;
	if (context->op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB) {
		owner->origin = ORIGIN_LISTENER;
		owner->said = 0;
		owner->changes = 0;
	}
	if (context->family == AF_INET6) {
		key.family = 6;
		remote[0] = context->remote_ip6[0];
		remote[1] = context->remote_ip6[1];
		remote[2] = context->remote_ip6[2];
		remote[3] = context->remote_ip6[3];
		local[0] = context->local_ip6[0];
		local[1] = context->local_ip6[1];
		local[2] = context->local_ip6[2];
		local[3] = context->local_ip6[3];
	}
	if (key.family == 4 || is_mapped(remote)) {
		key.family = 4;
		__builtin_memset(key.local, 0, 16);
		__builtin_memset(key.remote, 0, 16);
		remote[0] = context->remote_ip4;
		local[0] = context->local_ip4;
	}
	key.lport = context->local_port;
	key.rport = __builtin_bswap32(context->remote_port);
	key.cookie = bpf_get_socket_cookie(context);
	tell_ends(owner, &key);
	return ALLOW;
}

/* UDP: a socket that has a port of its own, whoever it will speak to. */
static __always_inline void tell_bound(struct owner *owner, struct bpf_sock *sk, __u64 cookie, __u32 family)
{
	struct key key = {.cookie = cookie, .transport = IPPROTO_UDP, .family = 4};
	__u32 *local = (__u32 *)key.local;

	key.lport = sk->src_port;
	if (!key.lport || owner->origin == ORIGIN_KERNEL)
		return;
	if (family == AF_INET6) {
		local[0] = sk->src_ip6[0];
		local[1] = sk->src_ip6[1];
		local[2] = sk->src_ip6[2];
		local[3] = sk->src_ip6[3];
		if (is_mapped(local)) {
			local[0] = local[3];
			local[1] = local[2] = local[3] = 0;
		} else {
			key.family = 6;
		}
	} else {
		local[0] = sk->src_ip4;
	}
	tell_ends(owner, &key);
}

/* -------------------------------------------------------------------------------------------------------- use */

/* Whoever uses a socket owns it: a server that forked after listen(), or a process that was handed it. */
static __always_inline int settle(struct owner *owner)
{
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;

	if (owner->tgid == tgid && (owner->origin == ORIGIN_CREATED || owner->origin == ORIGIN_USED))
		return 0;
	own_current(owner, ORIGIN_USED);
	introduce(owner);
	if (owner->changes < MANY_CHANGES) { /* two that share a socket must not fill the ring */
		owner->changes++;
		owner->said = 0;
	}
	return 1;
}

static __always_inline int settle_address(struct bpf_sock_addr *context, int connects)
{
	struct bpf_sock *sk = context->sk;
	struct owner *owner;

	if (!sk)
		return ALLOW;
	/* A socket without an owner is the kernel's own, unless there was no inventory. */
	owner = bpf_sk_storage_get(&owners, sk, 0, settings.task_helpers ? 0 : BPF_SK_STORAGE_GET_F_CREATE);
	if (owner) {
		if (!owner->netns)
			owner->netns = bpf_get_netns_cookie(context);
		settle(owner);
		if (sk->protocol == IPPROTO_UDP) {
			if (connects)
				owner->said &= ~SAID_ENDS; /* to another remote end */
			if (!(owner->said & SAID_BOUND))
				tell_bound(owner, sk, bpf_get_socket_cookie(context), sk->family);
		}
	}
	return ALLOW;
}

SEC("cgroup/connect4") int on_connect4(struct bpf_sock_addr *context)
{
	return settle_address(context, 1);
}

SEC("cgroup/connect6") int on_connect6(struct bpf_sock_addr *context)
{
	return settle_address(context, 1);
}

SEC("cgroup/sendmsg4") int on_sendmsg4(struct bpf_sock_addr *context)
{
	return settle_address(context, 0);
}

SEC("cgroup/sendmsg6") int on_sendmsg6(struct bpf_sock_addr *context)
{
	return settle_address(context, 0);
}

/* The family is the hook's: each may read its own addresses only. */
static __always_inline int settle_bound(struct bpf_sock *sk, __u32 family)
{
	struct owner *owner;

	if (sk->protocol != IPPROTO_UDP)
		return ALLOW;
	owner = bpf_sk_storage_get(&owners, sk, 0, 0);
	if (owner) {
		settle(owner);
		if (!(owner->said & SAID_BOUND))
			tell_bound(owner, sk, bpf_get_socket_cookie(sk), family);
	}
	return ALLOW;
}

SEC("cgroup/post_bind4") int on_bind4(struct bpf_sock *sk)
{
	return settle_bound(sk, AF_INET);
}

SEC("cgroup/post_bind6") int on_bind6(struct bpf_sock *sk)
{
	return settle_bound(sk, AF_INET6);
}

/* 6.3 and later: each send and receive, in the process that does it. */
static __always_inline int settle_length(struct sock *sk)
{
	struct owner *owner = bpf_sk_storage_get(&owners, sk, 0, 0);
	struct key key = {};
	struct flow *flow;
	void *map;
	__u8 before;
	int used, connected;

	if (!owner)
		return 0;
	before = owner->origin;
	if (before == ORIGIN_KERNEL || BPF_CORE_READ((struct task_struct *)bpf_get_current_task(), flags) & PF_KTHREAD)
		return 0;
	used = settle(owner) && before == ORIGIN_LISTENER;
	connected = BPF_CORE_READ(sk, __sk_common.skc_dport) != 0;
	if (!used && owner->said & (connected ? SAID_ENDS : SAID_BOUND))
		return 0;
	ends_of(&key, sk);
	key.cookie = bpf_get_socket_cookie(sk);
	if (key.lport && (key.transport == IPPROTO_UDP || (key.transport == IPPROTO_TCP && connected)))
		tell_ends(owner, &key);
	if (!used)
		return 0;
	/* What an accepted socket moved before its first use was its user's too. */
	map = current(worker_of(key.local, key.remote, key.lport ^ key.rport), 0);
	flow = map ? bpf_map_lookup_elem(map, &key) : 0;
	if (flow)
		own(flow, owner);
	return 0;
}

SEC("tp_btf/sock_send_length") int BPF_PROG(on_send, struct sock *sk)
{
	return settle_length(sk);
}

SEC("tp_btf/sock_recv_length") int BPF_PROG(on_recv, struct sock *sk)
{
	return settle_length(sk);
}

/* ------------------------------------------------------------------------------------------------------ state */

static __always_inline struct flow *flow_of(struct sock *sk, struct owner *owner)
{
	struct flow fresh = {.last = bpf_ktime_get_ns()}, *flow;
	struct key key = {};
	__u32 worker;
	void *map;

	ends_of(&key, sk);
	if (!key.lport || !key.rport)
		return 0;
	key.cookie = bpf_get_socket_cookie(sk);
	worker = worker_of(key.local, key.remote, key.lport ^ key.rport);
	map = current(worker, 0);
	if (!map)
		return 0;
	flow = bpf_map_lookup_elem(map, &key);
	if (flow)
		return flow;
	if (owner)
		own(&fresh, owner);
	else
		fresh.netns = netns_of(sk);
	allow(&fresh, &key);
	return insert(map, worker, &key, &fresh);
}

SEC("tp_btf/inet_sock_set_state") int BPF_PROG(on_state, struct sock *sk, int before, int after)
{
	struct owner *owner;
	struct flow *flow;

	if (BPF_CORE_READ(sk, sk_protocol) != IPPROTO_TCP || after == TCP_LISTEN_STATE || before == TCP_LISTEN_STATE ||
	    after == TCP_SYN_RECV || after == TCP_NEW_SYN_RECV_STATE)
		return 0;
	owner = bpf_sk_storage_get(&owners, sk, 0, 0);
	if (owner && before == TCP_SYN_RECV && owner->origin != ORIGIN_KERNEL)
		owner->origin = ORIGIN_LISTENER;
	flow = flow_of(sk, owner);
	if (!flow)
		return 0;
	flow->state = after;
	flow->states |= 1 << (before & 15) | 1 << (after & 15);
	if (owner)
		flow->origin = owner->origin;
	if (after == TCP_CLOSE_STATE)
		flow->error = BPF_CORE_READ(sk, sk_err);
	return 0;
}

SEC("tp_btf/tcp_retransmit_skb") int BPF_PROG(on_retransmit, struct sock *sk, struct sk_buff *skb)
{
	struct flow *flow = flow_of(sk, bpf_sk_storage_get(&owners, sk, 0, 0));
	struct skb_shared_info *shared = (void *)(BPF_CORE_READ(skb, head) + BPF_CORE_READ(skb, end));
	__u32 segments = BPF_CORE_READ(shared, gso_segs);

	if (flow)
		__sync_fetch_and_add(&flow->retransmits, segments ?: 1);
	return 0;
}

#include "inventory.bpf.h"

char LICENSE[] SEC("license") = "GPL";
