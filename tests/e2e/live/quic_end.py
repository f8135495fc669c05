"""An end of QUIC, by aioquic: serves what it is sent, or asks so many times over connections of their own."""

import asyncio
import ssl
import sys
from collections.abc import Callable
from pathlib import Path

from aioquic.asyncio.client import connect
from aioquic.asyncio.server import serve
from aioquic.quic.configuration import QuicConfiguration

ALPN = ["echo"]
SIZE = 5_000


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(await reader.read())
    writer.write_eof()


async def listen(port: str, certificate: str, key: str, started: Callable[[], None]) -> None:
    configuration = QuicConfiguration(is_client=False, alpn_protocols=ALPN)
    configuration.load_cert_chain(certificate, key)
    kept = set()

    def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(echo(reader, writer))
        kept.add(task)
        task.add_done_callback(kept.discard)

    await serve("0.0.0.0", int(port), configuration=configuration, stream_handler=handle)
    started()
    await asyncio.Event().wait()


async def ask(address: str, port: str, times: str) -> None:
    configuration = QuicConfiguration(
        alpn_protocols=ALPN, verify_mode=ssl.CERT_NONE, server_name="www.example.test"
    )
    for _ in range(int(times)):
        async with connect(address, int(port), configuration=configuration) as client:
            reader, writer = await client.create_stream()
            writer.write(bytes(SIZE))
            writer.write_eof()
            assert len(await reader.read()) == SIZE


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    if command == "serve":
        port, certificate, key, ready = arguments
        asyncio.run(listen(port, certificate, key, Path(ready).touch))
    else:
        asyncio.run(ask(*arguments))
