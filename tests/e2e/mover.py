"""An end of QUIC, by aioquic. A client's socket is replaced in the midst of its connection, as by a new port.

    mover.py serve PORT CERTIFICATE KEY
    mover.py move ADDRESS PORT TIMES

Says "ready" (serve) or "done" (move) on a line, and keeps its connection open until its standard input ends.
"""

import asyncio
import socket
import ssl
import sys

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import serve
from aioquic.quic.configuration import QuicConfiguration

ALPN = ["echo"]
NAME = "www.example.test"
SIZE = 50_000


async def end() -> None:
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


async def listen(port: str, certificate: str, key: str) -> None:
    configuration = QuicConfiguration(is_client=False, alpn_protocols=ALPN)
    configuration.load_cert_chain(certificate, key)
    tasks = set()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read())
        writer.write_eof()

    def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.ensure_future(echo(reader, writer)))

    await serve("::", int(port), configuration=configuration, stream_handler=handle)
    print("ready", flush=True)
    await end()


async def ask(client: QuicConnectionProtocol) -> None:
    reader, writer = await client.create_stream()
    writer.write(bytes(SIZE))
    writer.write_eof()
    assert len(await reader.read()) == SIZE


async def rebind(client: QuicConnectionProtocol) -> None:
    """Send from another port from now on; nothing is told to the connection."""
    anew = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    anew.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    anew.bind(("::", 0))
    before = client._transport
    await asyncio.get_running_loop().create_datagram_endpoint(lambda: client, sock=anew)
    before.close()


async def move(address: str, port: str, times: str) -> None:
    configuration = QuicConfiguration(alpn_protocols=ALPN, verify_mode=ssl.CERT_NONE, server_name=NAME)
    async with connect(address, int(port), configuration=configuration) as client:
        await ask(client)
        for _ in range(int(times)):
            await asyncio.sleep(1.5)
            await rebind(client)
            await ask(client)
        print("done", flush=True)
        await end()


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    asyncio.run({"serve": listen, "move": move}[command](*arguments))
