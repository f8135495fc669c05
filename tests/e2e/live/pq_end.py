"""An end of TLS 1.3 whose key exchange resists quantum computers, by the OpenSSL that `cryptography` brings.

A client's first message is longer than a segment. Serves, or asks so many times over connections of their own: then
it prints the least length of that message and the groups that were agreed on.
"""

import socket
import sys
from contextlib import suppress
from pathlib import Path

from OpenSSL import SSL

CHUNK = 1 << 16


def shake(connection: SSL.Connection, carrier: socket.socket) -> int:
    """Carry a handshake to its end; give the length of what was sent first."""
    first = 0
    while True:
        try:
            connection.do_handshake()
            done = True
        except SSL.WantReadError:
            done = False
        with suppress(SSL.WantReadError):
            while out := connection.bio_read(CHUNK):
                first = first or len(out)
                carrier.sendall(out)
        if done:
            return first
        connection.bio_write(carrier.recv(CHUNK))


def serve(port: str, certificate: str, key: str, ready: str) -> None:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate_chain_file(certificate)
    context.use_privatekey_file(key)
    listener = socket.create_server(("0.0.0.0", int(port)))
    Path(ready).touch()
    while True:
        carrier, _ = listener.accept()
        connection = SSL.Connection(context)
        connection.set_accept_state()
        with carrier, suppress(OSError, SSL.Error):
            shake(connection, carrier)
            carrier.recv(CHUNK)  # until the client ends


def ask(address: str, port: str, times: str) -> None:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    sizes, groups = set(), set()
    for _ in range(int(times)):
        connection = SSL.Connection(context)
        connection.set_connect_state()
        connection.set_tlsext_host_name(b"www.example.test")
        with socket.create_connection((address, int(port)), 20) as carrier:
            sizes.add(shake(connection, carrier))
        groups.add(connection.get_group_name())
    print(min(sizes), *groups)


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    {"serve": serve, "ask": ask}[command](*arguments)
