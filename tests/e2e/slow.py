"""A server that takes its time: HTTP `/MS` and DNS `MS.example.test` are answered after that many milliseconds.

usage: slow.py HTTP-PORT DNS-PORT
"""

import asyncio
import socket
import sys

HEADER = 12
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nok"
REFUSED = b"\x81\x05"
"""Flags of a DNS response: recursion desired, REFUSED."""


async def http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one request."""
    head = await reader.readuntil(b"\r\n\r\n")
    await asyncio.sleep(int(head.split()[1][1:]) / 1000)
    writer.write(ANSWER)
    await writer.drain()
    writer.close()


class Dns(asyncio.DatagramProtocol):
    """Refuses every question, late."""

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        name = data[HEADER + 1 : HEADER + 1 + data[HEADER]]
        reply = data[:2] + REFUSED + data[4:]
        asyncio.get_running_loop().call_later(int(name) / 1000, self.transport.sendto, reply, addr)


async def main() -> None:
    loop = asyncio.get_running_loop()
    dns = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    dns.bind(("::", int(sys.argv[2])))
    await loop.create_datagram_endpoint(Dns, sock=dns)
    both = socket.create_server(("::", int(sys.argv[1])), family=socket.AF_INET6, dualstack_ipv6=True)
    server = await asyncio.start_server(http, sock=both)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
