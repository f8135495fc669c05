"""Flags, variables and the configuration file: what is wrong is named with its place."""

from pathlib import Path

import pytest

from tests.bad_input.conftest import Complains

FREE = ("--web.listen-address", "127.0.0.1:0")

FLAGS = [
    (("run", "--nosuch.flag", "1"), r"--nosuch\.flag"),
    (("run", "--capture.snaplen", "7"), r"snaplen.*\b128\b"),
    (("run", "--capture.snaplen", "many"), r"snaplen"),
    (("run", "--capture.snaplen"), r"snaplen"),
    (("run", "--capture.local-network", "here"), r"local-network.*here"),
    (("run", "--capture.local-network", "10.0.0.0/64"), r"local_network.*10\.0\.0\.0/64"),
    (("run", "--capture.source", "magic"), r"source.*\bpcap\b"),
    (("run", "--workers", "zero"), r"workers"),
    (("run", "--workers", "0"), r"workers"),
    (("run", "--flow.limit", "-1"), r"limit"),
    (("run", "--log.level", "loud"), r"level.*debug"),
    (("run", "--web.listen-address", "here"), r"listen-address.*here"),
    (("run", "--web.listen-address", "127.0.0.1:port"), r"listen-address.*port"),
    (("run", "--web.listen-address", "127.0.0.1:99999"), r"listen-address.*99999"),
    (("run", "--web.telemetry-path", "metrics"), r"telemetry-path"),
    (("run", "--dpi.protocols", "nosuchprotocol"), r"nosuchprotocol"),
    (("run", "--attributes", "url.pat"), r"attributes: no such attribute: url\.pat; .*url\.path"),
    (
        ("replay", "x.pcap", "--attributes=-cookie"),
        r"attributes: no such attribute: cookie; known are: safe, all",
    ),
    (
        ("run", "--labels", "remote_port"),
        r"labels: .*server_address:top=N.*remote_port",
    ),
    (("run", "--labels", "server_address:top=0"), r"labels: .*server_address:top=N"),
    (("run", "--process.user", "no-such-user"), r"no-such-user"),
    (("run", "superfluous"), r"superfluous"),
    (("nosuchcommand",), r"nosuchcommand"),
    (("replay",), r"(?i)file"),
    (("replay", "x.pcap", "--format", "xml"), r"xml.*jsonl"),
]


@pytest.mark.parametrize(("arguments", "about"), FLAGS, ids=[" ".join(f[0]) for f in FLAGS])
def test_flag(complains: Complains, arguments: tuple[str, ...], about: str) -> None:
    complains(about, 2, *arguments)


@pytest.mark.parametrize(
    ("variable", "value"),
    [("NETPROC_CAPTURE_SNAPLEN", "7"), ("NETPROC_WORKERS", "many"), ("NETPROC_LOG_LEVEL", "loud")],
)
def test_variable(complains: Complains, variable: str, value: str) -> None:
    complains(variable, 2, "run", **{variable: value})


YAML = [
    ("capture: [interface: eth0\n", r"line 2|line 1|:[12]:"),
    ("capture:\n\tsnaplen: 1\n", r"line 2|:2:"),
    ("capture:\n  snaplenn: 300\n", r"capture.*snaplenn"),
    ("captures: {}\n", r"captures"),
    ("capture: {snaplen: 7}\n", r"capture\.snaplen.*128"),
    ("capture: {snaplen: lots}\n", r"capture\.snaplen"),
    ("flow: {timeouts: {udp: never}}\n", r"flow\.timeouts\.udp"),
    ("identity: {groups: [{name: x, executable: '('}]}\n", r"groups"),
    ("identity: {groups: [{executable: nginx}]}\n", r"groups.*name"),
    ("- a\n- b\n", r"config\.yml"),
    ("just words\n", r"config\.yml"),
    ("a: &a [*a]\n", r"config\.yml"),
    ("capture: !!python/object/apply:os.system ['true']\n", r"config\.yml"),
    ("capture: {}\n---\ncapture: {}\n", r"config\.yml"),
]


@pytest.mark.parametrize(("text", "about"), YAML, ids=[str(n) for n in range(len(YAML))])
def test_file(complains: Complains, tmp_path: Path, text: str, about: str) -> None:
    """The line names the file, and where in it the fault is."""
    (tmp_path / "config.yml").write_text(text)
    line = complains(about, 2, "run", "--config.file", "config.yml")
    assert "config.yml" in line


def test_no_file(complains: Complains) -> None:
    complains(r"nosuch\.yml.*[Nn]o such file", 2, "run", "--config.file", "nosuch.yml")


def test_folder_as_file(complains: Complains, tmp_path: Path) -> None:
    complains(r"directory", 2, "run", "--config.file", tmp_path)


def test_binary_file(complains: Complains, tmp_path: Path) -> None:
    (tmp_path / "config.yml").write_bytes(bytes(range(256)))
    complains(r"config\.yml", 2, "run", "--config.file", "config.yml")


def test_no_web_configuration(complains: Complains) -> None:
    complains(r"nosuch\.yml", 2, "run", *FREE, "--web.config.file", "nosuch.yml")


@pytest.mark.parametrize(
    "text", ["tls_server_config: {cert_file: a.pem}\n", "basic_auth_user: {a: b}\n", "[\n"]
)
def test_wrong_web_configuration(complains: Complains, tmp_path: Path, text: str) -> None:
    (tmp_path / "web.yml").write_text(text)
    complains(r"web\.yml", (1, 2), "run", *FREE, "--web.config.file", "web.yml")
