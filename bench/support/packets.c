/* Sends packets of many connections through a packet socket, in bursts at a rate.
 *
 * usage: packets INTERFACE, then commands on standard input, each answered by one line "sent seconds":
 *   http COUNT RATE     COUNT TCP connections to 10.9.0.1:8000, RATE a second: handshake, a request, its response,
 *                       and they stay open
 *   flood COUNT RATE    COUNT UDP datagrams to 10.9.0.1:9, each from another address and port (0: at full speed)
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <netpacket/packet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { BATCH = 64, PORTS = 50000, LARGEST = 512, SOL_PACKET_LEVEL = 263, QDISC_BYPASS = 20 };

static const char request[] = "GET /items/17?page=2 HTTP/1.1\r\nHost: bench.example\r\nAccept: */*\r\n\r\n";
static const char response[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\nBody";
static const uint32_t here = 0x0a090001;

static int fd;
static struct mmsghdr messages[BATCH];
static struct iovec vectors[BATCH];
static unsigned char frames[BATCH][LARGEST];
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

/* Writes the headers below the transport's, and gives the place for that; the whole has `size` bytes of IP. */
static unsigned char *frame(uint32_t source, uint32_t target, int protocol, unsigned size)
{
	unsigned char *f = frames[queued];
	struct ether_header ether = {.ether_type = htons(ETHERTYPE_IP)};
	struct iphdr ip = {.ihl = 5, .version = 4, .ttl = 64, .protocol = protocol, .frag_off = htons(0x4000)};

	memset(ether.ether_dhost, source == here ? 2 : 6, ETH_ALEN);
	memset(ether.ether_shost, source == here ? 6 : 2, ETH_ALEN);
	ip.saddr = htonl(source);
	ip.daddr = htonl(target);
	ip.tot_len = htons(size);
	ip.check = checksum(&ip);
	memcpy(f, &ether, sizeof ether);
	memcpy(f + sizeof ether, &ip, sizeof ip);
	vectors[queued].iov_len = sizeof ether + size;
	return f + sizeof ether + sizeof ip;
}

static void segment(unsigned long number, int side, int flags, const char *data)
{
	static const uint32_t begin[2] = {1000, 9000};
	uint32_t ends[2] = {0x0a090100 + number / PORTS, here};
	uint16_t ports[2] = {1024 + number % PORTS, 8000};
	unsigned length = strlen(data);
	struct tcphdr tcp = {.source = htons(ports[side]), .dest = htons(ports[!side]), .doff = 5};
	unsigned char *place = frame(ends[side], ends[!side], IPPROTO_TCP, 20 + 20 + length);
	int answered = data == response || side == 1;

	tcp.th_flags = flags;
	tcp.window = htons(8192);
	tcp.seq = htonl(begin[side] + (flags & TH_SYN ? 0 : 1));
	tcp.ack_seq = !(flags & TH_ACK) ? 0 : htonl(begin[!side] + 1 + (answered && length ? strlen(request) : 0));
	memcpy(place, &tcp, sizeof tcp);
	memcpy(place + sizeof tcp, data, length);
	if (++queued == BATCH)
		flush();
}

static void http(unsigned long number)
{
	segment(number, 0, TH_SYN, "");
	segment(number, 1, TH_SYN | TH_ACK, "");
	segment(number, 0, TH_ACK, "");
	segment(number, 0, TH_ACK | TH_PUSH, request);
	segment(number, 1, TH_ACK | TH_PUSH, response);
}

static void datagram(unsigned long number)
{
	struct udphdr udp = {.source = htons(1024 + number % PORTS), .dest = htons(9), .len = htons(8 + 18)};
	unsigned char *place = frame(0xc6120001 + number / PORTS, here, IPPROTO_UDP, 20 + 8 + 18);

	memcpy(place, &udp, sizeof udp);
	memset(place + sizeof udp, 0, 18);
	if (++queued == BATCH)
		flush();
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void pace(double start, unsigned long done, unsigned long rate)
{
	double early = rate ? start + (double)done / rate - now() : 0;

	if (early > 0.001)
		nanosleep(&(struct timespec){.tv_nsec = early < 0.9 ? early * 1e9 : 900000000}, NULL);
}

int main(int argc, char **argv)
{
	struct sockaddr_ll to = {.sll_family = AF_PACKET};
	char line[128], word[16];
	unsigned long rate, count;
	int yes = 1;

	fd = socket(AF_PACKET, SOCK_RAW, 0);
	if (argc != 2 || fd < 0 || !(to.sll_ifindex = if_nametoindex(argv[1])) || bind(fd, (void *)&to, sizeof to))
		return perror("packets"), 1;
	setsockopt(fd, SOL_PACKET_LEVEL, QDISC_BYPASS, &yes, sizeof yes);
	for (int i = 0; i < BATCH; i++) {
		vectors[i].iov_base = frames[i];
		messages[i].msg_hdr = (struct msghdr){.msg_iov = &vectors[i], .msg_iovlen = 1};
	}
	while (fgets(line, sizeof line, stdin)) {
		rate = count = sent = 0;
		double start = now();
		if (sscanf(line, "%15s %lu %lu", word, &count, &rate) != 3)
			return 2;
		for (unsigned long i = 0; i < count; i++) {
			strcmp(word, "http") ? datagram(i) : http(i);
			if (i % 16 == 0)
				pace(start, i, rate);
		}
		flush();
		printf("%lu %.6f\n", sent, now() - start);
		fflush(stdout);
	}
	return 0;
}
