/* Sends TCP packets of many connections through a packet socket, at a rate that a busy loop keeps.
 *
 * Each connection has both directions: 10.9.0.1 <-> 10.9.1.x, one segment of PAYLOAD bytes after the other, in order,
 * of connections and directions taken at random. IPv4 checksums are right, TCP's are not computed.
 *
 * usage: traffic INTERFACE CONNECTIONS, then commands on standard input, each answered by one line "sent seconds":
 *   open RATE         SYN, SYN-ACK, ACK and two packets of data of every connection
 *   send RATE COUNT   so many packets of data, RATE a second (0: as fast as it goes)
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <netpacket/packet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { BATCH = 32, PAYLOAD = 46, WINDOW = 8192, MSS = 1460, SOL_PACKET_LEVEL = 263, QDISC_BYPASS = 20 };

struct frame {
	struct ether_header ether;
	struct iphdr ip;
	struct tcphdr tcp;
	unsigned char data[PAYLOAD];
} __attribute__((packed));

struct way {
	struct frame frame;
	uint32_t next;
} __attribute__((aligned(64)));

static struct way *ways; /* two of each connection */
static unsigned long connections;
static int fd;
static struct mmsghdr messages[BATCH];
static struct iovec vectors[BATCH];
static struct frame frames[BATCH];
static unsigned queued;
static unsigned long sent;

static uint16_t checksum(const void *ip)
{
	uint32_t sum = 0;
	uint16_t words[sizeof(struct iphdr) / 2];

	memcpy(words, ip, sizeof words);
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		sum += words[i];
	sum = (sum & 0xffff) + (sum >> 16);
	return ~(sum + (sum >> 16));
}

static void prepare(struct way *way, unsigned long number, int side)
{
	uint32_t ends[2] = {htonl(0x0a090001), htonl(0x0a090100 + number % 250)};
	uint16_t ports[2] = {htons(20000 + number / 250), htons(8000)};
	struct frame *f = &way->frame;

	memset(f->ether.ether_dhost, side ? 2 : 6, ETH_ALEN);
	memset(f->ether.ether_shost, side ? 6 : 2, ETH_ALEN);
	f->ether.ether_type = htons(ETHERTYPE_IP);
	f->ip = (struct iphdr){.ihl = 5, .version = 4, .ttl = 64, .protocol = IPPROTO_TCP, .frag_off = htons(0x4000)};
	f->ip.saddr = ends[side];
	f->ip.daddr = ends[!side];
	f->tcp.source = ports[side];
	f->tcp.dest = ports[!side];
	f->tcp.window = htons(WINDOW);
	memset(f->data, 0, sizeof f->data);
	way->next = 1000;
}

static void flush(void)
{
	unsigned done = 0;

	while (done < queued) {
		int n = sendmmsg(fd, messages + done, queued - done, 0);
		if (n > 0)
			done += n;
	}
	sent += queued;
	queued = 0;
}

static void queue(struct way *way, struct way *back, int flags, unsigned length)
{
	struct frame *f = &frames[queued];
	unsigned doff = flags & TH_SYN ? 6 : 5;

	*f = way->frame;
	f->tcp.seq = htonl(way->next);
	f->tcp.ack_seq = flags & TH_ACK ? htonl(back->next) : 0;
	f->tcp.th_flags = flags;
	f->tcp.doff = doff;
	if (flags & TH_SYN)
		memcpy(f->data, (unsigned char[]){2, 4, MSS >> 8, MSS & 255}, 4);
	f->ip.tot_len = htons(20 + 4 * doff + length);
	f->ip.check = 0;
	f->ip.check = checksum(&f->ip);
	way->next += length + (flags & TH_SYN ? 1 : 0);
	vectors[queued].iov_len = 14 + 20 + 4 * doff + length;
	if (++queued == BATCH)
		flush();
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void pace(double start, unsigned long rate)
{
	while (rate && !queued && sent > (now() - start) * rate)
		;
}

static void open_all(double start, unsigned long rate)
{
	for (unsigned long i = 0; i < connections; i++) {
		struct way *a = &ways[2 * i], *b = a + 1;
		queue(a, b, TH_SYN, 0);
		queue(b, a, TH_SYN | TH_ACK, 0);
		queue(a, b, TH_ACK, 0);
		queue(a, b, TH_ACK | TH_PUSH, PAYLOAD);
		queue(b, a, TH_ACK | TH_PUSH, PAYLOAD);
		pace(start, rate);
	}
}

static void send_data(double start, unsigned long rate, unsigned long count)
{
	static uint64_t random = 0x9e3779b97f4a7c15;

	for (unsigned long i = 0; i < count; i++) {
		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		unsigned long at = (random >> 16) % (2 * connections);
		queue(&ways[at], &ways[at ^ 1], TH_ACK, PAYLOAD);
		pace(start, rate);
	}
}

static void connect_to(const char *name)
{
	struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = if_nametoindex(name)};
	int yes = 1;

	fd = socket(AF_PACKET, SOCK_RAW, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&to, sizeof to)) {
		perror(name);
		exit(1);
	}
	setsockopt(fd, SOL_PACKET_LEVEL, QDISC_BYPASS, &yes, sizeof yes);
}

int main(int argc, char **argv)
{
	char line[128], word[16];
	unsigned long rate, count;

	if (argc != 3 || !(connections = strtoul(argv[2], NULL, 10)))
		return 2;
	connect_to(argv[1]);
	ways = aligned_alloc(64, 2 * connections * sizeof *ways);
	for (unsigned long i = 0; i < 2 * connections; i++)
		prepare(&ways[i], i / 2, i % 2);
	for (int i = 0; i < BATCH; i++) {
		vectors[i].iov_base = &frames[i];
		messages[i].msg_hdr = (struct msghdr){.msg_iov = &vectors[i], .msg_iovlen = 1};
	}
	while (fgets(line, sizeof line, stdin)) {
		rate = count = sent = 0;
		double start = now();
		sscanf(line, "%15s %lu %lu", word, &rate, &count);
		if (!strcmp(word, "open"))
			open_all(start, rate);
		else
			send_data(start, rate, count);
		flush();
		printf("%lu %.6f\n", sent, now() - start);
		fflush(stdout);
	}
	return 0;
}
