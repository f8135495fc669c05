// SPDX-License-Identifier: GPL-2.0-only
/*
 * Counts each packet of each socket, at the root of cgroup v2, and brings up those that inspection and state need.
 * No packet is ever held back.
 */
#include <linux/bpf.h>
#include <linux/in.h>
#include <bpf/bpf_helpers.h>

#include "shared.h"
#include "compat.bpf.h"
#include "maps.bpf.h"
#include "parse.bpf.h"

#define ALLOW 1
#define QUIC_LONG 0xc0
#define IPV6_TLV_JUMBO 194
#define JUMBO 8

/* A TCP socket's ends are its own: a listener has no remote one, and a translated address is none of its. */
static __always_inline void ends_of_socket(struct key *key, const struct packet *packet, struct bpf_sock *sk, __u32 way)
{
	__u32 *local = (__u32 *)key->local, *remote = (__u32 *)key->remote;
	__u32 port = sk->src_port;

	if (packet->family == 4) {
		local[0] = sk->src_ip4;
		remote[0] = sk->dst_ip4;
	} else {
		local[0] = sk->src_ip6[0];
		local[1] = sk->src_ip6[1];
		local[2] = sk->src_ip6[2];
		local[3] = sk->src_ip6[3];
		remote[0] = sk->dst_ip6[0];
		remote[1] = sk->dst_ip6[1];
		remote[2] = sk->dst_ip6[2];
		remote[3] = sk->dst_ip6[3];
	}
	/* What is sent after the close (a reset) finds the port given back. */
	key->lport = port ?: way == TRANSMIT ? packet->sport : packet->dport;
	key->rport = __builtin_bswap16(sk->dst_port);
	if (!key->rport && sk->state != TCP_LISTEN_STATE)
		key->lport = 0; /* the kernel's socket that sends resets: one entry for all of them */
}

static __always_inline void ends_of_packet(struct key *key, const struct packet *packet, __u32 way)
{
	if (way == TRANSMIT) {
		__builtin_memcpy(key->local, packet->src, 16);
		__builtin_memcpy(key->remote, packet->dst, 16);
		key->lport = packet->sport;
		key->rport = packet->dport;
	} else {
		__builtin_memcpy(key->local, packet->dst, 16);
		__builtin_memcpy(key->remote, packet->src, 16);
		key->lport = packet->dport;
		key->rport = packet->sport;
	}
}

/* The slow path, once a turn for each connection: who owns it, and what may still be brought up. */
static __always_inline struct flow *begin(struct __sk_buff *skb, void *map, __u32 worker, const struct key *key)
{
	struct flow fresh = {.last = bpf_ktime_get_coarse_ns()};
	struct bpf_sock *sk = skb->sk, *full;
	struct owner *owner;

	if (!sk)
		return 0;
	full = bpf_sk_fullsock(sk);
	if (!full)
		return 0;
	owner = bpf_sk_storage_get(&owners, full, 0, 0);
	if (owner)
		own(&fresh, owner);
	else if (settings.netns_helper)
		fresh.netns = bpf_get_netns_cookie(skb);
	if (!fresh.cgroup) /* older than we are: where the socket is, not its user */
		fresh.cgroup = bpf_skb_cgroup_id(skb);
	if (key->transport == IPPROTO_TCP) {
		fresh.state = full->state;
		fresh.states = 1 << (fresh.state & 15);
	}
	fresh.raw = full->type == SOCK_RAW;
	allow(&fresh, key);
	return insert(map, worker, key, &fresh);
}

static __always_inline void take(struct budget *left, __u32 way, __u32 bytes)
{
	if (left->packets[way] && left->packets[way] != UNLIMITED)
		left->packets[way]--;
	if (left->bytes[way] != UNLIMITED)
		left->bytes[way] -= bytes < left->bytes[way] ? bytes : left->bytes[way];
}

/* How many bytes of this packet go up; 0: it stays. */
static __always_inline __u32 wanted(struct __sk_buff *skb, const struct packet *packet, const struct key *key,
				    struct flow *flow, __u32 way)
{
	__u32 payload = packet->size - packet->header, allowed;
	struct budget *left;
	__u8 first = 0, answers = 0;

	if (flow->quiet)
		return 0;
	if (packet->transport == IPPROTO_UDP) {
#pragma unroll
		for (int i = 0; i < 6; i++)
			if (settings.ports[i] && (settings.ports[i] == key->lport || settings.ports[i] == key->rport))
				return packet->size;
		if (payload && flow->left.packets[way] != UNLIMITED &&
		    !bpf_skb_load_bytes(skb, packet->header, &first, 1) && (first & QUIC_LONG) == QUIC_LONG)
			return packet->size;
	} else if (packet->transport != IPPROTO_TCP) {
		return 0;
	}
	if (!key->rport && packet->transport == IPPROTO_TCP) { /* a listener: handshakes, up to its share */
		if (flow->raw) /* a reset by the kernel tells its other end enough */
			return 0;
		/* Data may end a handshake: whoever accepts waits for it, or the acknowledgement was lost or overtaken. */
		if (payload && flow->left.bytes[way]) {
			allowed = payload < flow->left.bytes[way] ? payload : flow->left.bytes[way];
			take(&flow->left, way, allowed);
			return packet->header + allowed;
		}
		if (!flow->left.packets[way])
			return 0;
		take(&flow->left, way, 0);
		return packet->header;
	}
	if (payload && flow->left.packets[way]) {
		answers = flow->side && flow->side != way + 1;
		flow->side = way + 1;
	}
	if (payload && flow->left.packets[way] > (answers ? 0 : ANSWERS) && (answers || flow->left.bytes[way])) {
		allowed = flow->left.bytes[way];
		if (answers && allowed < BEGINNING)
			allowed = BEGINNING;
		if (allowed > payload)
			allowed = payload;
		take(&flow->left, way, allowed);
		left = bpf_map_lookup_elem(&budgets, key);
		if (left)
			take(left, way, allowed);
		return packet->header + allowed;
	}
	return packet->flags & (FIN | SYN | RST) ? packet->header : 0;
}

static __always_inline void fill(struct frame *frame, struct __sk_buff *skb, const struct key *key,
				 const struct flow *flow, __u32 captured)
{
	frame->time = bpf_ktime_get_ns();
	frame->key = *key;
	frame->netns = flow->netns;
	frame->tgid = flow->tgid;
	frame->size = skb->len;
	frame->captured = captured;
	frame->segments = skb->gso_segs;
	frame->pad = 0;
}

#define BRING(room)                                                                                                    \
	do {                                                                                                           \
		__u64 some = length;                                                                                   \
		struct frame *frame = bpf_ringbuf_reserve(ring, sizeof(*frame) + (room), 0);                           \
		if (!frame) {                                                                                          \
			ail(LOST_FRAMES, 1);                                                                           \
			return;                                                                                        \
		}                                                                                                      \
		fill(frame, skb, key, flow, length);                                                                   \
		frame->way = way;                                                                                      \
		bounded(some);                                                                                         \
		if (some > 0 && some <= (room) && !bpf_skb_load_bytes(skb, 0, frame->data, some))                      \
			bpf_ringbuf_submit(frame, 0);                                                                  \
		else                                                                                                   \
			bpf_ringbuf_discard(frame, 0);                                                                 \
	} while (0)

static __always_inline void bring(struct __sk_buff *skb, const struct key *key, struct flow *flow, __u32 way,
				  __u32 length, __u32 worker)
{
	void *ring = bpf_map_lookup_elem(&rings, &worker);

	if (!ring)
		return;
	if (length <= FRAME_SMALL) {
		BRING(FRAME_SMALL);
	} else if (length <= FRAME_MIDDLE) {
		BRING(FRAME_MIDDLE);
	} else {
		if (length > FRAME_LARGE)
			length = FRAME_LARGE;
		BRING(FRAME_LARGE);
	}
}

/* IPv6 packets of more than 64 KiB carry a hop-by-hop option until they are cut up; it is on no wire. */
static __always_inline __u32 jumbo(struct __sk_buff *skb, const struct packet *packet)
{
	__u8 next = 1, option[4] = {};

	if (packet->family != 6 || packet->size <= 40 + JUMBO + 65535)
		return 0;
	if (bpf_skb_load_bytes(skb, 6, &next, 1) || bpf_skb_load_bytes(skb, 40, option, sizeof(option)))
		return 0;
	return next == IPPROTO_HOPOPTS && option[1] == 0 && option[2] == IPV6_TLV_JUMBO ? JUMBO : 0;
}

static __always_inline void count(struct __sk_buff *skb, const struct packet *packet, struct count *count)
{
	__u32 size = skb->gso_size, segments = skb->gso_segs, unsent = jumbo(skb, packet);

	__sync_fetch_and_add(&count->packets, 1);
	__sync_fetch_and_add(&count->bytes, packet->size - unsent);
	if (!size)
		return;
	if (!segments) /* a guest's packet: the number is not trusted and was cleared */
		segments = (packet->size - packet->header + size - 1) / size;
	if (segments > 1) {
		__sync_fetch_and_add(&count->more_packets, segments - 1);
		__sync_fetch_and_add(&count->more_bytes, (__u64)(segments - 1) * (packet->header - unsent));
	}
}

static __always_inline int see(struct __sk_buff *skb, __u32 way)
{
	struct packet packet = {};
	struct key key = {};
	struct bpf_sock *sk = skb->sk;
	struct flow *flow = 0;
	__u32 worker, length;
	void *map;

	if (!sk)
		return ALLOW;
	parse(skb, &packet);
	key.cookie = bpf_get_socket_cookie(skb);
	key.transport = packet.transport;
	key.family = packet.family;
	if (packet.transport == IPPROTO_TCP || (packet.transport == IPPROTO_UDP && sk->dst_port))
		ends_of_socket(&key, &packet, sk, way);
	else
		ends_of_packet(&key, &packet, way);
	if (key.rport)
		worker = worker_of(key.local, key.remote, key.lport ^ key.rport);
	else
		worker = worker_of(packet.src, packet.dst, packet.sport ^ packet.dport);
	map = current(worker, 0);
	if (map)
		flow = bpf_map_lookup_elem(map, &key) ?: begin(skb, map, worker, &key);
	if (!flow) {
		ail(UNCOUNTED_PACKETS, 1);
		ail(UNCOUNTED_BYTES, packet.size);
		return ALLOW;
	}
	count(skb, &packet, &flow->way[way & 1]);
	flow->last = bpf_ktime_get_coarse_ns();
	length = wanted(skb, &packet, &key, flow, way & 1);
	if (length)
		bring(skb, &key, flow, way, length, worker);
	return ALLOW;
}

SEC("cgroup_skb/ingress") int receive(struct __sk_buff *skb)
{
	return see(skb, RECEIVE);
}

SEC("cgroup_skb/egress") int transmit(struct __sk_buff *skb)
{
	return see(skb, TRANSMIT);
}

char LICENSE[] SEC("license") = "GPL";
