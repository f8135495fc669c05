import contextlib
import errno
import socket

import pytest

from exporter.app import listen
from exporter.errors import ConfigError, UserError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (":10187", ("", 10187)),
        ("localhost:80", ("localhost", 80)),
        ("0.0.0.0:1", ("0.0.0.0", 1)),
        ("[::1]:65535", ("::1", 65535)),
        ("[fe80::1%eth0]:2", ("fe80::1%eth0", 2)),
    ],
)
def test_addresses(text: str, expected: tuple[str, int]) -> None:
    assert listen.split_address(text) == expected


@pytest.mark.parametrize(
    "text", ["", "80", "host", "host:", "::1:80", "[]:80", ":65536", ":-1", ":٣", "h:8 0", "[::1]"]
)
def test_no_addresses(text: str) -> None:
    with pytest.raises(
        ConfigError, match=r"^--web\.listen-address: expected :port, host:port or \[IPv6\]:port"
    ):
        listen.split_address(text)


def connect(family: int, host: str, port: int) -> None:
    with socket.socket(family) as end:
        end.connect((host, port))


def test_a_bare_port_is_both_protocols() -> None:
    with contextlib.ExitStack() as stack:
        (listener,) = [stack.enter_context(one) for one in listen.bind_all([":0"])]
        port = listener.getsockname()[1]
        connect(socket.AF_INET, "127.0.0.1", port)
        connect(socket.AF_INET6, "::1", port)
        assert listen.urls([listener], "/metrics", "http") == [f"http://0.0.0.0:{port}/metrics"]


def test_a_bare_port_without_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    real = listen._listen

    def only_four(family: int, address: object, *, dual: bool) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "no IPv6")
        return real(family, address, dual=dual)

    monkeypatch.setattr(listen, "_listen", only_four)
    (listener,) = listen.bind_all([":0"])
    assert listener.family == socket.AF_INET
    listener.close()


def test_an_address_of_one_protocol_leaves_the_other_alone() -> None:
    (six,) = listen.bind_all(["[::1]:0"])
    port = six.getsockname()[1]
    (four,) = listen.bind_all([f"127.0.0.1:{port}"])
    assert listen.urls([six, four], "/m", "https") == [
        f"https://[::1]:{port}/m",
        f"https://127.0.0.1:{port}/m",
    ]
    six.close()
    four.close()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (
            "192.0.2.77:1",
            "cannot assign requested address; this machine does not have that address; choose another",
        ),
        ("no-such-host.invalid:1", "choose another --web.listen-address"),
    ],
)
def test_what_cannot_be_had_is_one_line(address: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        listen.bind_all(["127.0.0.1:0", address])
    assert str(caught.value).startswith(f"cannot listen on {address}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
