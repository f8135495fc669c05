"""What the machine does not have or does not allow."""

import socket
from collections.abc import Iterator

import pytest

from tests.bad_input.conftest import Complains

pytestmark = [pytest.mark.root, pytest.mark.net_raw]

FREE = ("--web.listen-address", "127.0.0.1:0")


@pytest.fixture
def taken() -> Iterator[str]:
    """An address that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_port_in_use(complains: Complains, taken: str) -> None:
    complains(rf"{taken}.*in use", 1, "run", "--web.listen-address", taken)


def test_address_of_another_machine(complains: Complains) -> None:
    complains(r"192\.0\.2\.77", 1, "run", "--web.listen-address", "192.0.2.77:10187")


def test_missing_interface(complains: Complains) -> None:
    complains(r"nosuch0", 1, "run", *FREE, "--capture.interface", "nosuch0")


@pytest.mark.parametrize("words", ["port banana", "((", "tcp and and udp", "host no-such-host.invalid"])
def test_bad_filter(complains: Complains, words: str) -> None:
    line = complains(r"filter", 1, "run", *FREE, "--capture.interface", "lo", "--capture.filter", words)
    assert words in line


def test_no_privilege(complains: Complains, without_privilege: tuple[str, ...]) -> None:
    complains(r"NET_RAW", 1, "run", *FREE, before=without_privilege)


def test_nobody(complains: Complains) -> None:
    """An ordinary user, who may read our files wherever they lie."""
    reads = "+dac_read_search"
    become = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    complains(r"root", 1, "run", *FREE, before=(*become, f"--inh-caps={reads}", f"--ambient-caps={reads}"))
