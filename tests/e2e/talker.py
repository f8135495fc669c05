"""Moves known numbers of bytes, and keeps its connections open until it is told to end.

    talker.py serve ADDRESS PORT
    talker.py talk ADDRESS PORT LARGEST

Says "ready" (serve) or "done" (talk) on a line, then waits for the end of its standard input.
"""

import selectors
import socket
import sys

SIZES = (1, 100, 1400, 20_000, 300_000)
ROUNDS = 2
DATAGRAM = 700


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def serve(address, port):
    """Give back what comes, half of it, over TCP and UDP."""
    selector = selectors.DefaultSelector()
    listener = socket.create_server((address, port), family=family(address))
    datagrams = socket.socket(family(address), socket.SOCK_DGRAM)
    datagrams.bind((address, port))
    for one in (listener, datagrams, sys.stdin):
        selector.register(one, selectors.EVENT_READ)
    print("ready", flush=True)
    while True:
        for key, _ in selector.select():
            if key.fileobj is sys.stdin:
                return
            if key.fileobj is listener:
                selector.register(listener.accept()[0], selectors.EVENT_READ)
            elif key.fileobj is datagrams:
                data, sender = datagrams.recvfrom(4096)
                datagrams.sendto(data[: len(data) // 2], sender)
            elif data := key.fileobj.recv(1 << 16):
                key.fileobj.sendall(data[: len(data) // 2])
            else:
                selector.unregister(key.fileobj)
                key.fileobj.close()


def talk(address, port, largest):
    """Several connections, and datagrams; each answer is waited for."""
    streams = [socket.create_connection((address, port)) for _ in range(3)]
    datagrams = socket.socket(family(address), socket.SOCK_DGRAM)
    datagrams.connect((address, port))
    for _ in range(ROUNDS):
        for stream in streams:
            for size in filter(lambda size: size <= largest, SIZES):
                stream.sendall(b"\0" * size)
                stream.settimeout(0.2)
                try:
                    while stream.recv(1 << 20):
                        pass
                except TimeoutError:
                    pass
        datagrams.send(bytes(DATAGRAM))
        datagrams.recv(4096)
    print("done", flush=True)
    sys.stdin.read()


def main():
    what, address, port, *more = sys.argv[1:]
    if what == "serve":
        serve(address, int(port))
    else:
        talk(address, int(port), int(more[0]))


main()
