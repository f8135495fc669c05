/* SPDX-License-Identifier: GPL-2.0-only */
/* Numbers of the protocols, as both readers of packets need them. */
#ifndef NETPROC_WIRE_BPF_H
#define NETPROC_WIRE_BPF_H

#define FIN 0x01
#define SYN 0x02
#define RST 0x04
/* linux/in6.h has these beside a struct in6_addr that compat.bpf.h declares with less in it. */
#define IPPROTO_HOPOPTS 0
#define IPPROTO_ROUTING 43
#define IPPROTO_FRAGMENT 44
#define IPPROTO_ICMPV6 58
#define IPPROTO_DSTOPTS 60

static __always_inline __u16 be16(const __u8 *at)
{
	return at[0] << 8 | at[1];
}

#endif
