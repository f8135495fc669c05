"""The command as a user meets it: what it prints, with which exit status, in how many lines."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from exporter import cli
from exporter.cli import COMMANDS, main, whole_parser
from exporter.config import Config, load

COMMAND = [sys.executable, "-m", "exporter"]


def call(*words: str, **keys) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *words], capture_output=True, text=True, check=False, timeout=30, **keys)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_examples(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([name, "--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert "examples:" in out
    assert f"netproc-exporter {name}" in out


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["help"]])
def test_help_lists_all_commands(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    out = capsys.readouterr().out
    assert all(f"    {name}" in out for name in COMMANDS)
    assert "examples:" in out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("netproc-exporter ")


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        ([], 2, ("say what to do: one of run, replay, check, metrics, protocols, attributes, config, completion; "
                "for example: netproc-exporter run")),
        (["--workers", "2"], 2, ("say what to do: one of run, replay, check, metrics, protocols, attributes, config, "
                                "completion; for example: netproc-exporter run --workers 2")),
        (["rum"], 2, ("rum: unknown command (did you mean run?); "
                     "there are run, replay, check, metrics, protocols, attributes, config, completion")),
        (["run", "--nothing"], 2, "--nothing: unknown flag (see netproc-exporter run --help)"),
        (["run", "--capture.snaplne=5"], 2, ("--capture.snaplne=5: unknown flag (did you mean --capture.snaplen?) "
                                            "(see netproc-exporter run --help)")),
        (["run", "eth0"], 2, "eth0: unexpected argument (see netproc-exporter run --help)"),
        (["run", "--capture.snaplen"], 2, ("argument --capture.snaplen: expected one argument "
                                          "(see netproc-exporter run --help)")),
        (["config", "--capture.snaplen", "x"], 2,
         "--capture.snaplen: expected a whole number from 128 to 262144, not 'x'"),
        (["run", "--web.listen-address", ":99999"], 2,
         "--web.listen-address: expected :port, host:port or [IPv6]:port, not ':99999'"),
        (["run", "--process.user", "no-such-user"], 2,
         "process.user: there is no user 'no-such-user'; give a name of /etc/passwd or a number"),
        (["config", "--config.file", "/nowhere"], 2, "--config.file: /nowhere: no such file or directory"),
        (["run", "--capture.source", "ebpf", "-i", "lo"], 2,
         "capture.source is ebpf, which has no capture.interface; leave that out, or take pcap"),
        (["replay"], 2, "the following arguments are required: FILE (see netproc-exporter replay --help)"),
        (["replay", "x", "--format", "xml"], 2, ("argument --format: invalid choice: 'xml' "
         "(choose from 'summary', 'jsonl', 'prometheus') (see netproc-exporter replay --help)")),
        (["completion", "fish"], 2, ("argument shell: invalid choice: 'fish' (choose from 'bash', 'zsh') "
                                    "(see netproc-exporter completion --help)")),
    ],
)  # fmt: skip
def test_a_user_error_is_one_line(
    words: list[str], status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if "no-such-user" in words and os.geteuid() != 0:
        pytest.skip("only root changes users")
    assert main(words) == status
    out, err = capsys.readouterr()
    assert out == ""
    choices = err.replace(
        "(choose from summary, jsonl, prometheus)", "(choose from 'summary', 'jsonl', 'prometheus')"
    )
    choices = choices.replace(
        "(choose from bash, zsh)", "(choose from 'bash', 'zsh')"
    )  # Python 3.12.8 and later
    assert choices == f"netproc-exporter: {message}\n"


def test_a_web_configuration_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--web.config.file", "/nowhere/web.yml"]) == 2
    assert (
        capsys.readouterr().err
        == "netproc-exporter: web.config.file: cannot read /nowhere/web.yml: No such file or directory\n"
    )


def test_an_unknown_protocol_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--dpi.protocols", "htp"]) == 2
    assert capsys.readouterr().err.startswith(
        "netproc-exporter: dpi.protocols: no such protocol: htp; known are: "
    )


def test_a_broken_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "netproc.yaml"
    path.write_text("capture:\n  snaplen: [")
    done = call("run", "--config.file", str(path))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("netproc-exporter: netproc.yaml: line 2: ")


def test_a_port_in_use_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = call("run", "--web.listen-address", f"127.0.0.1:{port}")
    assert done.returncode == 1
    if os.geteuid() == 0:
        assert done.stderr == (
            f"netproc-exporter: cannot listen on 127.0.0.1:{port}: address already in use; stop the program that "
            "listens there (ss -ltnp names it) or choose another --web.listen-address\n"
        )


@pytest.mark.root
def test_no_privilege_is_one_line() -> None:
    done = subprocess.run(
        [
            "setpriv",
            "--bounding-set=-net_raw,-bpf,-sys_admin",
            "--inh-caps=-all",
            *COMMAND,
            "run",
            "--web.listen-address",
            ":0",
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("netproc-exporter: no privilege to capture packets: run as root, or grant ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "key", "expected"),
    [
        (["-i", "eth0", "--interface", "lo"], "capture.interface", ("eth0", "lo")),
        (["-f", "tcp"], "capture.filter", "tcp"),
        (["--bpf-filter", "udp"], "capture.filter", "udp"),
        (["--count-as", "stack"], "capture.count_as", "stack"),
        (["--no-dpi"], "dpi.enabled", False),
        (["--no-dpi.enabled"], "dpi.enabled", False),
        (["--no-localhost"], "capture.loopback", False),
        (["--no-sandbox"], "process.sandbox", "off"),
        (["--sandbox-strict"], "process.sandbox", "strict"),
        (["-l", "debug"], "log.level", "debug"),
        (["--no-metrics.rates"], "metrics.rates", False),
        (["--self.traffic"], "own.traffic", True),
        (["--web.config.file", "/x"], "web.config_file", "/x"),
        (["--flow.timeouts.tcp-time-wait", "1.5"], "flow.timeouts.tcp_time_wait", 1.5),
        (["--dpi.protocols=-http"], "dpi.protocols", ("-http",)),
        (["--dpi-protocols", "http", "--dpi-protocols", "dns"], "dpi.protocols", ("http", "dns")),
        (["--labels", "server_address:top=9"], "labels", ("server_address:top=9",)),
        (
            ["--attributes", "safe, url.path", "--attributes=-dns.answers"],
            "attributes",
            ("safe", "url.path", "-dns.answers"),
        ),
    ],
)
def test_flags(words: list[str], key: str, expected: object) -> None:
    found: object = cli._config(cli._parse("run", words))
    for part in key.split("."):
        found = getattr(found, part)
    assert found == expected


def test_config_prints_what_it_reads(tmp_path: Path) -> None:
    first = call("config", "--workers", "2", "-i", "lo").stdout
    path = tmp_path / "again.yaml"
    path.write_text(first)
    assert call("config", "--config.file", str(path)).stdout == first
    assert yaml.safe_load(first)["workers"] == 2


def test_config_prints_a_schema() -> None:
    schema = json.loads(call("config", "--schema").stdout)
    assert "snaplen" in schema["$defs"]["Capture"]["properties"]


def test_metrics_documents_every_family(capsys: pytest.CaptureFixture[str]) -> None:
    from exporter.metrics import ALL

    assert main(["metrics"]) == 0
    out = capsys.readouterr().out
    assert all(f"{family.name} ({family.kind})\n" in out for family in ALL)


def test_protocols_lists_every_dissector(capsys: pytest.CaptureFixture[str]) -> None:
    from exporter import dpi

    assert main(["protocols"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert [row.split()[0] for row in rows] == ["PROTOCOL", *(d.name for d in dpi.load())]


def test_attributes_lists_what_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["attributes"]) == 0
    head, *rows = [row.split(maxsplit=1) for row in capsys.readouterr().out.splitlines()]
    kept = {name: rest.startswith("yes ") for name, rest in rows}
    assert head[0] == "ATTRIBUTE"
    assert (kept["server.address"], kept["url.path"]) == (True, False)


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "--capture.snaplen" in script
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_the_whole_parser_knows_what_the_quick_one_does() -> None:
    found = whole_parser().parse_args(["replay", "x.pcap", "--format", "jsonl", "-i", "lo"])
    assert (found.command, found.file, found.format) == ("replay", "x.pcap", "jsonl")


def test_a_closed_pipe_is_silent() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [*COMMAND, "metrics"], stdout=write, stderr=subprocess.PIPE, text=True, check=False, timeout=30
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


def test_ctrl_c_is_silent(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "_dispatch", lambda _words: signal.default_int_handler(signal.SIGINT, None))
    assert main([]) == 130
    assert capfd.readouterr() == ("", "")


def test_help_loads_little() -> None:
    code = "import sys; from exporter.cli import main; main(['--help']); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"msgspec", "yaml", "structlog", "prometheus_client", "pcap", "shtab"} & set(
        done.stderr.split()
    )


def test_defaults_of_the_command_are_the_defaults() -> None:
    assert cli._config(cli._parse("run", [])) == Config()
    assert load(b"{}") == Config()


def test_check_tells_in_text_and_json() -> None:
    done = call("check", "--web.listen-address", "127.0.0.1:0")
    assert done.returncode in {0, 1}
    assert "eBPF" in done.stdout
    found = json.loads(call("check", "--format", "json", "--web.listen-address", "127.0.0.1:0").stdout)
    assert found["ready"] == (done.returncode == 0)
    assert {
        "user",
        "capabilities",
        "packet sockets",
        "interfaces",
        "landlock",
        "seccomp",
        "listen address",
    } <= {fact["name"] for fact in found["facts"]}


def test_check_fails_where_run_would(tmp_path: Path) -> None:
    done = call("check", "-i", "nosuchif0", cwd=tmp_path)
    assert done.returncode == 1
    assert "there is no interface 'nosuchif0'" in done.stdout
    assert "It cannot start" in done.stdout


def checked(*words: str, without: str = "") -> tuple[int, dict]:
    prefix = ["setpriv", f"--bounding-set={without}", "--inh-caps=-all"] if without else []
    command = [*prefix, *COMMAND, "check", "--format", "json", "--web.listen-address", "127.0.0.1:0", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.stderr == ""
    found = json.loads(done.stdout)
    return done.returncode, found | {"fact": {fact["name"]: fact for fact in found["facts"]}["eBPF"]}


@pytest.mark.root
@pytest.mark.bpf
def test_check_loads_the_kernel_s_side_as_run_does() -> None:
    status, found = checked("--capture.source", "ebpf", "--workers", "2", without="-net_raw")
    assert status == 0
    assert found["use"]["capture"] == "eBPF, counting for each socket, 2 worker(s)"
    assert found["use"]["owners"].startswith("ebpf, then ")
    assert found["degraded"] == {}
    assert found["fact"]["state"] == "ok"


@pytest.mark.root
@pytest.mark.bpf
@pytest.mark.parametrize(
    ("without", "reason"),
    [
        ("-bpf,-sys_admin", "no_cap_bpf"),
        ("-net_admin", "no_cap_net_admin"),
        ("-perfmon,-sys_admin", "no_cap_perfmon"),
    ],
)
def test_check_says_why_not_better(without: str, reason: str) -> None:
    status, found = checked(without=without)
    offload = {"offload": reason} if reason == "no_cap_bpf" else {}
    assert (status, found["degraded"], found["fact"]["state"]) == (0, {"ebpf": reason} | offload, "weak")
    assert found["use"]["capture"].startswith("libpcap on ")
    status, found = checked("--capture.source", "ebpf", without=without)
    assert (status, found["ready"], found["fact"]["state"]) == (1, False, "no")
    assert "capture.source ebpf does not work here: ebpf: the capability " in found["fact"]["text"]


def test_check_refuses_what_run_would() -> None:
    status, found = checked("--capture.source", "ebpf", "--capture.snaplen", "512")
    assert status == 1
    assert found["fact"]["text"].startswith("capture.source is ebpf, which has no capture.snaplen; ")
    assert (
        checked("--capture.source", "pcap", "-i", "lo", "--identity.method", "procfs")[1]["fact"]["text"]
        == "not asked for"
    )
