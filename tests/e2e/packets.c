/* Sends UDP datagrams of 28 IP bytes + payload through a packet socket: COUNT packets over TUPLES different sources
 * (address and port), RATE a second (0: as fast as it goes). Prints how many the interface took.
 * usage: packets INTERFACE DESTINATION-MAC DESTINATION-IPv4 TUPLES COUNT RATE */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/ether.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <netpacket/packet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { BATCH = 64, PAYLOAD = 18, PORTS = 50000 };

struct frame {
	struct ether_header ether;
	struct iphdr ip;
	struct udphdr udp;
	char payload[PAYLOAD];
} __attribute__((packed));

static uint16_t checksum(const void *header)
{
	uint32_t sum = 0;
	uint16_t words[sizeof(struct iphdr) / 2];

	memcpy(words, header, sizeof words);
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		sum += words[i];
	sum = (sum & 0xffff) + (sum >> 16);
	return ~(sum + (sum >> 16));
}

static void address(struct frame *f, unsigned long tuple)
{
	f->ip.saddr = htonl(0xc6120001 + tuple / PORTS); /* 198.18.0.1 and on */
	f->udp.source = htons(1024 + tuple % PORTS);
	f->ip.check = 0;
	f->ip.check = checksum(&f->ip);
}

static void fill(struct frame *f, const char *mac, const char *to)
{
	memcpy(f->ether.ether_dhost, ether_aton(mac), ETH_ALEN);
	f->ether.ether_type = htons(ETHERTYPE_IP);
	f->ip = (struct iphdr){.ihl = 5, .version = 4, .ttl = 64, .protocol = IPPROTO_UDP};
	f->ip.tot_len = htons(sizeof *f - sizeof f->ether);
	f->ip.daddr = inet_addr(to);
	f->udp.dest = htons(9);
	f->udp.len = htons(sizeof f->udp + PAYLOAD);
}

static void pace(const struct timespec *start, unsigned long sent, unsigned long rate)
{
	unsigned long long ns = rate ? sent * 1000000000ULL / rate : 0;
	struct timespec until = {start->tv_sec + ns / 1000000000, start->tv_nsec + ns % 1000000000};

	if (until.tv_nsec >= 1000000000) {
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	if (rate)
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

int main(int argc, char **argv)
{
	static struct frame frames[BATCH];
	struct mmsghdr messages[BATCH] = {0};
	struct iovec vectors[BATCH];
	struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_halen = ETH_ALEN};
	struct timespec start;
	unsigned long tuples, count, rate, sent = 0;
	int fd = socket(AF_PACKET, SOCK_RAW, 0);

	if (argc != 7 || fd < 0)
		return perror("packets"), 2;
	to.sll_ifindex = if_nametoindex(argv[1]);
	tuples = strtoul(argv[4], NULL, 10), count = strtoul(argv[5], NULL, 10), rate = strtoul(argv[6], NULL, 10);
	for (int i = 0; i < BATCH; i++) {
		fill(&frames[i], argv[2], argv[3]);
		vectors[i] = (struct iovec){&frames[i], sizeof frames[i]};
		messages[i].msg_hdr = (struct msghdr){
			.msg_name = &to, .msg_namelen = sizeof to, .msg_iov = &vectors[i], .msg_iovlen = 1};
	}
	clock_gettime(CLOCK_MONOTONIC, &start);
	while (sent < count) {
		unsigned int n = count - sent < BATCH ? count - sent : BATCH;

		for (unsigned int i = 0; i < n; i++)
			address(&frames[i], (sent + i) % tuples);
		pace(&start, sent, rate);
		int took = sendmmsg(fd, messages, n, 0);
		if (took > 0)
			sent += took;
		else if (errno != ENOBUFS && errno != EAGAIN)
			return perror("sendmmsg"), 1;
	}
	return printf("%lu\n", sent) < 0;
}
