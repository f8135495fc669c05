"""The exporter process alone, over a ledger that the benchmark fills and publishes as a worker does."""

import http.client
import mmap
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

from bench.series import fill, identities
from exporter import ledgerfile
from exporter.app import channels
from exporter.config import Config, Metrics, dump
from exporter.engine.accounts import Accounts
from exporter.ledger import Ledger

__all__ = ["Scraper", "filled", "serve"]

ACCEPT = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;"
    "version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
"""As Prometheus 3 asks."""


def filled(series: int) -> tuple[Config, Ledger]:
    """Make a ledger of at least so many series, and the configuration that allows them."""
    limit = 4 * series
    config = Config(metrics=Metrics(series_limit=limit, family_limit=limit))
    ledger = Ledger(config.metrics, now=time.time())
    accounts = Accounts(ledger, packets=False, servers=None)
    for node in count():
        for who, protocols in identities():
            fill(accounts, who._replace(process=f"{who.process}-{node}"), protocols)
            if ledger._total >= series:
                ledger.rates(1.0)
                return config, ledger
    raise AssertionError


def move(ledger: Ledger) -> None:
    """Let every counter gain what looks like traffic, and the rates follow."""
    values = ledger.values
    for slot, row in ledger.rows.items():
        if row.key[0].kind == "counter":
            values[slot] += 100 + slot % 977
    ledger.rates(1.0)


@contextmanager
def serve(config: Config, ledger: Ledger) -> Iterator[tuple[int, memoryview]]:
    """Run the exporter process as the supervisor starts it; give its port, and the file to publish into."""
    held = channels.hold(1, ledgerfile.size(config.metrics))
    listener = socket.create_server(("127.0.0.1", 0))
    channels.write_status(held.status, {"restarts": {}, "workers": 1, "degraded": []})
    buffer = memoryview(mmap.mmap(held.ledgers[0], 0))
    assert ledger.publish(buffer)
    settings = channels.config_file(dump(config))
    read = [channels.read_only(fd) for fd in (held.ledgers[0], held.identity_ledger, held.status)]
    fds = (settings, listener.fileno(), *read, held.lifeline)
    flags = {
        "config-fd": settings,
        "listen-fds": listener.fileno(),
        "ledger-fds": f"{read[0]},{read[1]}",
        "status-fd": read[2],
        "lifeline-fd": held.lifeline,
    }
    words = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
    command = [sys.executable, "-P", "-m", "exporter.app.exporter", *words]
    process = subprocess.Popen(command, pass_fds=fds)
    try:
        yield listener.getsockname()[1], buffer
    finally:
        process.kill()
        process.wait()


class Scraper:
    """Asks as Prometheus does, over one connection."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def scrape(self) -> tuple[float, int]:
        """Give the milliseconds of a whole request, and the series in its answer."""
        start = time.perf_counter()
        self._connection.request("GET", "/metrics", headers={"Accept": ACCEPT, "Accept-Encoding": "gzip"})
        response = self._connection.getresponse()
        body = response.read()
        took = time.perf_counter() - start
        assert response.status == http.client.OK
        text = zlib.decompress(body, 31)
        return 1000 * took, sum(not line.startswith(b"#") for line in text.splitlines())


if __name__ == "__main__":
    scraper = Scraper(int(sys.argv[1]))
    while True:
        scraper.scrape()
        time.sleep(float(sys.argv[2]))
