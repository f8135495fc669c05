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

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 18);
} events SEC(".maps");

/* Processes told of: start by tgid. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, __u64);
} told SEC(".maps");

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
	bpf_ringbuf_submit(process, 0);
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

/* TCP tells its end by its state. */
SEC("cgroup/sock_release") int on_release(struct bpf_sock *sk)
{
	struct owner *owner;

	if (sk->protocol != IPPROTO_UDP)
		return ALLOW;
	owner = bpf_sk_storage_get(&owners, sk, 0, 0);
	if (owner)
		tell(owner, EVENT_CLOSE, bpf_get_socket_cookie(sk));
	return ALLOW;
}

/* -------------------------------------------------------------------------------------------------------- use */

/* Whoever uses a socket owns it: a server that forked after listen(), or a process that was handed it. */
static __always_inline int settle(struct owner *owner)
{
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;

	if (owner->tgid == tgid && owner->origin != ORIGIN_LISTENER && owner->origin != ORIGIN_NONE)
		return 0;
	own_current(owner, ORIGIN_USED);
	introduce(owner);
	return 1;
}

static __always_inline int settle_address(struct bpf_sock_addr *context)
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
	}
	return ALLOW;
}

SEC("cgroup/connect4") int on_connect4(struct bpf_sock_addr *context)
{
	return settle_address(context);
}

SEC("cgroup/connect6") int on_connect6(struct bpf_sock_addr *context)
{
	return settle_address(context);
}

SEC("cgroup/sendmsg4") int on_sendmsg4(struct bpf_sock_addr *context)
{
	return settle_address(context);
}

SEC("cgroup/sendmsg6") int on_sendmsg6(struct bpf_sock_addr *context)
{
	return settle_address(context);
}

/* 6.3 and later: each send and receive, in the process that does it. */
static __always_inline int settle_length(struct sock *sk)
{
	struct owner *owner = bpf_sk_storage_get(&owners, sk, 0, 0);
	struct key key = {};
	struct flow *flow;
	void *map;
	__u8 before;

	if (!owner)
		return 0;
	before = owner->origin;
	if (before == ORIGIN_KERNEL || BPF_CORE_READ((struct task_struct *)bpf_get_current_task(), flags) & PF_KTHREAD)
		return 0;
	if (!settle(owner) || before != ORIGIN_LISTENER)
		return 0;
	/* What an accepted socket moved before its first use was its user's too. */
	ends_of(&key, sk);
	key.cookie = bpf_get_socket_cookie(sk);
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
