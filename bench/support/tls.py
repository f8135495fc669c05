"""A TLS server, and a client that opens a connection for each request, at a steady rate: one at a time.

python -m bench.support.tls serve PORT VERSION CERTIFICATE
python -m bench.support.tls get ADDRESS PORT RATE COUNT     prints "done failed seconds"
"""

import socket
import ssl
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from bench.support.space import pin

__all__ = ["NAME", "certificate", "contexts"]

NAME = "bench.example"
REQUEST, RESPONSE = b"G" * 200, b"R" * 2000
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def certificate(folder: str) -> Path:
    """Make a key and a certificate that signs itself; both in one file."""
    path = Path(folder) / "server.pem"
    words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -batch"
    command = [*words.split(), "-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}"]
    subprocess.run([*command, "-keyout", path, "-out", f"{path}.crt"], check=True, stderr=subprocess.DEVNULL)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


def contexts(version: str, pem: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Give the client's and the server's context."""
    client, server = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    client.set_alpn_protocols(["http/1.1"])
    server.load_cert_chain(pem)
    server.set_alpn_protocols(["http/1.1"])
    server.minimum_version = server.maximum_version = VERSIONS[version]
    return client, server


def _serve(port: str, version: str, pem: str) -> None:
    context = contexts(version, Path(pem))[1]
    with socket.create_server(("", int(port)), backlog=1024) as listener:
        print("ready", flush=True)
        while True:
            raw, _ = listener.accept()
            with suppress(OSError), context.wrap_socket(raw, server_side=True) as end:
                end.recv(4096)
                end.sendall(RESPONSE)


def _once(context: ssl.SSLContext, to: tuple[str, int]) -> None:
    with socket.create_connection(to, 5) as raw, context.wrap_socket(raw, server_hostname=NAME) as end:
        end.sendall(REQUEST)
        while end.recv(4096):
            pass


def _get(address: str, port: str, rate: str, count: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    failed = 0
    start = time.monotonic()
    for number in range(int(count)):
        time.sleep(max(0.0, start + number / int(rate) - time.monotonic()))
        try:
            _once(context, (address, int(port)))
        except OSError:
            failed += 1
    print(int(count) - failed, failed, time.monotonic() - start)


if __name__ == "__main__":
    pin(0)
    if sys.argv[1] == "serve":
        _serve(*sys.argv[2:])
    else:
        _get(*sys.argv[2:])
