/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The maps that both objects use: whichever is loaded second takes those of the first. Sizes are the loader's; what
 * stands here are the least that the verifier wants. Each worker has two hash maps, one written and one drained, and
 * two more for what found them full; `control` says which. Nothing is removed here, ever: so what a reader has seen
 * in a map that is no longer written is all there will be.
 */
#ifndef NETPROC_MAPS_BPF_H
#define NETPROC_MAPS_BPF_H

/* The compiler forgets what it knows of a length, so that its check and its use stay one register. */
#define bounded(length) asm volatile("" : "+r"(length))

/* Inner maps have sizes in place of types: clang 14 keeps the types of outer ones only. */
struct flow_map {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(struct key));
	__uint(value_size, sizeof(struct flow));
};
struct control_map {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct control));
};
struct ring_map {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, MAX_WORKERS *SLOTS);
	__type(key, __u32);
	__array(values, struct flow_map);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, MAX_WORKERS);
	__type(key, __u32);
	__array(values, struct control_map);
} controls SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, MAX_WORKERS);
	__type(key, __u32);
	__array(values, struct ring_map);
} rings SEC(".maps");

/* What is left of each connection's budget, over the turns. Who reads the frames may set it: 0, or UNLIMITED. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct key);
	__type(value, struct budget);
} budgets SEC(".maps");

/* Processes of which nothing is brought up (our own), by tgid. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, __u8);
} quiet SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, struct owner);
} owners SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, HEALTH);
	__type(key, __u32);
	__type(value, __u64);
} health SEC(".maps");

const volatile struct settings settings = {};

/* For the object's BTF, which a test compares with layout.py: the compiler leaves out what only code uses. No loader
 * makes anything of this section. */
static const struct {
	struct key key;
	struct count count;
	struct budget budget;
	struct flow flow;
	struct owner owner;
	struct process process;
	struct ends ends;
	struct holder holder;
	struct control control;
	struct frame frame;
} shapes SEC("layout") __attribute__((used));

static __always_inline void ail(__u32 what, __u64 by)
{
	__u64 *value = bpf_map_lookup_elem(&health, &what);

	if (value)
		__sync_fetch_and_add(value, by);
}

/* The same for both ends of a connection, and for a listener's packets of it. */
static __always_inline __u32 worker_of(const __u8 *local, const __u8 *remote, __u32 ports)
{
	const __u32 *a = (const __u32 *)local, *b = (const __u32 *)remote;
	__u32 hash = a[0] ^ a[1] ^ a[2] ^ a[3] ^ b[0] ^ b[1] ^ b[2] ^ b[3] ^ ports;

	if (settings.workers < 2)
		return 0;
	hash *= 0x9e3779b1;
	return ((__u64)hash * settings.workers) >> 32;
}

/* The map now written: the worker's connections, or their overflow. */
static __always_inline void *current(__u32 worker, __u32 overflow)
{
	struct control *control;
	__u32 zero = 0, slot;
	void *inner = bpf_map_lookup_elem(&controls, &worker);

	if (!inner)
		return 0;
	control = bpf_map_lookup_elem(inner, &zero);
	if (!control)
		return 0;
	slot = worker * SLOTS + (*(volatile __u32 *)&control->generation & 1) + (overflow ? 2 : 0);
	return bpf_map_lookup_elem(&flows, &slot);
}

static __always_inline void own(struct flow *flow, const struct owner *owner)
{
	flow->netns = owner->netns;
	flow->start = owner->start;
	flow->cgroup = owner->cgroup;
	flow->tgid = owner->tgid;
	flow->uid = owner->uid;
	flow->space = owner->space;
	flow->origin = owner->origin;
}

/* What may be brought up of a connection, whichever of its turns this is. */
static __always_inline void allow(struct flow *fresh, const struct key *key)
{
	struct budget whole = {
		.packets = {settings.packets, settings.packets},
		.bytes = {settings.bytes, settings.bytes},
	};
	struct budget *left;

	fresh->quiet = fresh->tgid && bpf_map_lookup_elem(&quiet, &fresh->tgid);
	if (!key->rport) {
		/* No connection: limited by turn, so that a flood of beginnings fills nothing. */
		whole.packets[RECEIVE] = whole.packets[TRANSMIT] = settings.listener;
		whole.bytes[RECEIVE] = settings.bytes ? LISTENER_BYTES : 0;
		fresh->left = whole;
		return;
	}
	if (settings.packets) {
		whole.packets[RECEIVE] += ANSWERS;
		whole.packets[TRANSMIT] += ANSWERS;
	}
	left = bpf_map_lookup_elem(&budgets, key);
	fresh->left = left ? *left : whole;
	if (!left)
		bpf_map_update_elem(&budgets, key, &whole, BPF_NOEXIST);
}

/* Another CPU may have been faster; a full map sends it to the owner's overflow entry. */
static __always_inline struct flow *insert(void *map, __u32 worker, const struct key *key, const struct flow *fresh)
{
	struct key instead = {.cookie = fresh->tgid, .transport = key->transport, .family = key->family, .overflow = 1};
	struct flow *flow;

	bpf_map_update_elem(map, key, fresh, BPF_NOEXIST);
	flow = bpf_map_lookup_elem(map, key);
	if (flow)
		return flow;
	ail(OVERFLOWS, 1);
	*(__u64 *)instead.local = fresh->start;
	map = current(worker, 1);
	if (!map)
		return 0;
	flow = bpf_map_lookup_elem(map, &instead);
	if (flow)
		return flow;
	bpf_map_update_elem(map, &instead, fresh, BPF_NOEXIST);
	return bpf_map_lookup_elem(map, &instead);
}

#endif
