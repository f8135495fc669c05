/* A small HTTP server, and a client that opens a connection for each request, at a steady rate: one thread each.
 *
 * usage: http serve PORT
 *        http get ADDRESS PORT RATE COUNT     prints "done failed seconds"
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 256, BODY = 512, MOST = 512 };

static const char request[] = "GET /items/17?page=2 HTTP/1.1\r\nHost: bench.example\r\nUser-Agent: bench/1.0\r\n"
			      "Accept: */*\r\nConnection: close\r\n\r\n";
static char response[BODY + 256];
static int length, poller;

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void watch(int fd, unsigned events)
{
	struct epoll_event event = {.events = events, .data.fd = fd};

	epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
}

static struct sockaddr_in address(const char *ip, const char *port)
{
	return (struct sockaddr_in){
		.sin_family = AF_INET, .sin_addr.s_addr = inet_addr(ip), .sin_port = htons(atoi(port))};
}

/* The request fits a segment. The client closes last: its request is answered, then the server closes. */
static int serve(const char *port)
{
	struct sockaddr_in at = address("0.0.0.0", port);
	struct epoll_event events[EVENTS];
	char data[4096];
	int yes = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
	if (bind(listener, (void *)&at, sizeof at) || listen(listener, 4096))
		return perror("listen"), 1;
	watch(listener, EPOLLIN);
	puts("ready");
	fflush(stdout);
	for (;;) {
		int n = epoll_wait(poller, events, EVENTS, -1);
		for (int i = 0; i < n; i++) {
			int fd = events[i].data.fd;
			if (fd == listener) {
				while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0)
					watch(fd, EPOLLIN);
				continue;
			}
			if (read(fd, data, sizeof data) > 0 && write(fd, response, length) < 0)
				perror("write");
			close(fd);
		}
	}
}

static void begin(const struct sockaddr_in *to, long *failed, int *open)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	if (fd < 0 || (connect(fd, (const void *)to, sizeof *to) && errno != EINPROGRESS)) {
		++*failed;
		close(fd);
		return;
	}
	++*open;
	watch(fd, EPOLLOUT);
}

static int get(char **argv)
{
	struct sockaddr_in to = address(argv[2], argv[3]);
	struct epoll_event events[EVENTS], event;
	long rate = atol(argv[4]), count = atol(argv[5]), begun = 0, done = 0, failed = 0;
	char data[4096];
	int open = 0;
	double start = now();

	while (done + failed < count) {
		while (begun < count && open < MOST && begun < (now() - start) * rate) {
			begin(&to, &failed, &open);
			begun++;
		}
		int n = epoll_wait(poller, events, EVENTS, 1);
		for (int i = 0; i < n; i++) {
			int fd = events[i].data.fd;
			if (events[i].events == EPOLLOUT) {
				event = (struct epoll_event){.events = EPOLLIN, .data.fd = fd};
				if (write(fd, request, sizeof request - 1) > 0 &&
				    !epoll_ctl(poller, EPOLL_CTL_MOD, fd, &event))
					continue;
				failed++;
			} else {
				ssize_t got = read(fd, data, sizeof data);
				if (got > 0)
					continue;
				got ? failed++ : done++;
			}
			close(fd);
			open--;
		}
	}
	printf("%ld %ld %.6f\n", done, failed, now() - start);
	return 0;
}

int main(int argc, char **argv)
{
	length = snprintf(response, sizeof response,
			  "HTTP/1.1 200 OK\r\nServer: bench\r\nContent-Type: text/plain\r\n"
			  "Content-Length: %d\r\nConnection: close\r\n\r\n", BODY);
	memset(response + length, 'x', BODY);
	length += BODY;
	poller = epoll_create1(0);
	if (argc == 3 && !strcmp(argv[1], "serve"))
		return serve(argv[2]);
	return argc == 6 && !strcmp(argv[1], "get") ? get(argv) : 2;
}
