import re
from pathlib import Path

import msgspec
import pytest

from exporter import config as declared
from exporter.config import Config
from exporter.configload import load, settings
from exporter.errors import ConfigError


def from_yaml(tmp_path: Path, text: str, flags=None, environ=None) -> Config:
    path = tmp_path / "netproc.yaml"
    path.write_text(text)
    return load(flags or {}, environ or {}, str(path))


def test_nothing_said_gives_the_defaults() -> None:
    assert load({}, {}) == Config()


def test_flags_go_before_environment_before_file(tmp_path: Path) -> None:
    text = "capture: {snaplen: 1000, buffer_size: 400000}\nflow: {limit: 7}\nlog: {level: debug}"
    environ = {"NETPROC_CAPTURE_SNAPLEN": "2000", "NETPROC_CAPTURE_BUFFER_SIZE": "500000"}
    found = from_yaml(tmp_path, text, {"capture.snaplen": "3000"}, environ)
    assert found.capture.snaplen == 3000
    assert found.capture.buffer_size == 500_000
    assert found.flow.limit == 7
    assert found.log.level == "debug"
    assert found.web == Config().web


def test_the_environment_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("workers: auto")
    assert load({}, {"NETPROC_CONFIG_FILE": str(path)}).workers == "auto"


@pytest.mark.parametrize(
    ("key", "environ", "expected"),
    [
        ("capture.interface", {"NETPROC_CAPTURE_INTERFACE": "eth0, veth*"}, ("eth0", "veth*")),
        ("dpi.enabled", {"NETPROC_DPI_ENABLED": "no"}, False),
        ("metrics.created", {"NETPROC_METRICS_CREATED": "1"}, True),
        ("self.traffic", {"NETPROC_SELF_TRAFFIC": "true"}, True),
        ("flow.timeouts.tcp_idle", {"NETPROC_FLOW_TIMEOUTS_TCP_IDLE": "2.5"}, 2.5),
        ("workers", {"NETPROC_WORKERS": "auto"}, "auto"),
        ("workers", {"NETPROC_WORKERS": "3"}, 3),
        (
            "web.listen_address",
            {"NETPROC_WEB_LISTEN_ADDRESS": "127.0.0.1:1,[::1]:2"},
            ("127.0.0.1:1", "[::1]:2"),
        ),
    ],
)
def test_environment(key: str, environ: dict[str, str], expected: object) -> None:
    found: object = load({}, environ)
    for part in key.split("."):
        found = getattr(found, "own" if part == "self" else part)
    assert found == expected


@pytest.mark.parametrize(
    "name",
    [
        "NETPROC_EXPORTER_SERVICE_HOST",
        "NETPROC_EXPORTER_PORT_10187_TCP_ADDR",
        "NETPROC_SERVICE_PORT_HTTP",
        "NETPROC_PORT",
        "NETPROC_SHORT",
        "NETPROC_BPF",
        "PATH",
    ],
)
def test_what_kubernetes_sets_for_a_service_is_no_setting(name: str) -> None:
    assert load({}, {name: "tcp://10.0.0.1:10187"}) == Config()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("capture: {snaplne: 5}", "capture.snaplne: unknown key (did you mean snaplen?)"),
        ("captur: {}", "captur: unknown key (did you mean capture?)"),
        ("zzz: 1", "zzz: unknown key"),
        ("own: {traffic: yes}", "own: unknown key"),
        ("flow: {timeouts: {tcp_idel: 1}}", "flow.timeouts.tcp_idel: unknown key (did you mean tcp_idle?)"),
        (
            "capture: {snaplen: 5}",
            "capture.snaplen: expected a whole number from 128 to 262144, not 5",
        ),
        (
            "capture: {snaplen: many}",
            "capture.snaplen: expected a whole number from 128 to 262144, not 'many'",
        ),
        (
            "capture: {snaplen: true}",
            "capture.snaplen: expected a whole number from 128 to 262144, not True",
        ),
        ("capture: {source: dpdk}", "capture.source: expected one of auto, ebpf, pcap, not 'dpdk'"),
        ("capture: [eth0]", "capture: expected keys and values, not ['eth0']"),
        ("- capture", "the file: expected keys and values, not ['capture']"),
        ("flow: {settle: 0}", "flow.settle: expected a number above 0 and at most 31536000, not 0"),
        ("flow: {settle: .nan}", "flow.settle: expected a number above 0 and at most 31536000, not nan"),
        ("flow: {settle: }", "flow.settle: expected a number above 0 and at most 31536000, not nothing"),
        ("dpi: {enabled: perhaps}", "dpi.enabled: expected true or false, not 'perhaps'"),
        ("workers: 0", "workers: expected a whole number from 1 to 256 or auto, not 0"),
        ("workers: some", "workers: expected a whole number from 1 to 256 or auto, not 'some'"),
        ("web: {telemetry_path: metrics}", "web.telemetry_path: expected a path such as /metrics, not 'metrics'"),
        (
            "web: {listen_address: 10187}",
            "web.listen_address: expected a list (:port, host:port or [IPv6]:port), not 10187",
        ),
        (
            "web: {listen_address: ['::1:80']}",
            "web.listen_address: expected a list (:port, host:port or [IPv6]:port), not ['::1:80']",
        ),
        ("web: {listen_address: []}", "web.listen_address: expected a list (:port, host:port or [IPv6]:port), not []"),
        ("capture: {interface: {a: b}}", "capture.interface: expected a list (text), not {'a': 'b'}"),
        ("identity: {groups: [{nam: x}]}", "identity.groups[0]: unknown key nam (did you mean name?)"),
        ("identity: {groups: [{unit: x}]}", "identity.groups[0]: name is missing"),
        (
            "identity: {groups: [{name: x, command: '('}]}",
            ("identity.groups[0].command: not a regular expression: "
            "missing ), unterminated subpattern at position 0"),
        ),
        ("identity: {groups: 5}", "identity.groups[0]: expected a list (rules with name, executable, command, unit)"),
        ("a: [1\nb: 2", "line 2: expected ',' or ']', but got ':'"),
        ("workers: 1\nworkers: 2", "line 2: workers is given twice"),
        ("a: !!python/object:os.system x", ("line 1: could not determine a constructor for the tag "
         "'tag:yaml.org,2002:python/object:os.system'")),
        ("\x00", "not YAML: unacceptable character #x0000: special characters are not allowed"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_file_is_named_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_yaml(tmp_path, text)
    assert str(caught.value) == f"netproc.yaml: {message}"


def test_a_mistake_is_told_even_if_a_flag_overrides_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^netproc\.yaml: workers: "):
        from_yaml(tmp_path, "workers: 0", {"workers": "2"})


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        (
            {"NETPROC_CAPTURE_SNAPLEN": "x"},
            "environment NETPROC_CAPTURE_SNAPLEN: expected a whole number from 128 to 262144, not 'x'",
        ),
        (
            {"NETPROC_CAPTURE_SNAPLNE": "1"},
            "environment NETPROC_CAPTURE_SNAPLNE: unknown variable (did you mean NETPROC_CAPTURE_SNAPLEN?)",
        ),
        ({"NETPROC_DPI_ENABLED": "2"}, "environment NETPROC_DPI_ENABLED: expected true or false, not '2'"),
    ],
)
def test_a_mistake_in_the_environment(environ: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load({}, environ)
    assert str(caught.value) == message


def test_a_mistake_in_a_flag() -> None:
    with pytest.raises(ConfigError) as caught:
        load({"capture.snaplen": "9"}, {})
    assert str(caught.value) == "--capture.snaplen: expected a whole number from 128 to 262144, not '9'"


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(ConfigError) as caught:
        load({}, {}, "/nowhere/x.yaml")
    assert str(caught.value) == "--config.file: /nowhere/x.yaml: no such file or directory"


def test_an_empty_file_and_empty_sections_are_fine(tmp_path: Path) -> None:
    assert from_yaml(tmp_path, "") == Config()
    assert from_yaml(tmp_path, "capture:\n") == Config()


def test_one_value_stands_for_a_list_and_numbers_for_text(tmp_path: Path) -> None:
    found = from_yaml(tmp_path, "capture: {interface: eth0}\nprocess: {user: 65534}\nself: {traffic: yes}")
    assert found.capture.interface == ("eth0",)
    assert found.process.user == "65534"
    assert found.own.traffic is True


def test_rules_are_read(tmp_path: Path) -> None:
    found = from_yaml(tmp_path, "identity: {groups: [{name: 'py-{0}', command: 'python (.*)'}]}")
    assert found.identity.groups == (declared.GroupRule(name="py-{0}", command="python (.*)"),)


@pytest.mark.parametrize(
    "address", [":1", "h:1", "a.b-c:65535", "[::1]:80", "[fe80::1%eth0]:80", "0.0.0.0:0"]
)
def test_listen_addresses(address: str) -> None:
    assert load({"web.listen_address": [address]}, {}).web.listen_address == (address,)


def test_flags_variables_and_keys_are_distinct_and_well_formed() -> None:
    every = list(settings().values())
    assert len({s.flag for s in every}) == len({s.variable for s in every}) == len(every) > 50
    assert all(re.fullmatch(r"--[a-z]+(-[a-z]+)*([.][a-z]+(-[a-z]+)*)*", s.flag) for s in every)


def test_every_setting_survives_its_own_default_as_text() -> None:
    """What help shows as the default can be given."""
    for setting in settings().values():
        if setting.plain and not isinstance(setting.default, tuple):
            assert load({setting.key: str(setting.default)}, {}) == Config(), setting.key


def test_dump_and_load_are_inverse() -> None:
    found = load({"workers": "auto", "capture.interface": ["a", "b"], "self.traffic": True}, {})
    assert declared.load(declared.dump(found)) == found


def test_the_schema_describes_the_yaml_file() -> None:
    schema = msgspec.json.schema(Config)
    assert set(schema["$defs"]["Config"]["properties"]) >= {"workers", "capture", "self", "web"}
    assert schema["$defs"]["Capture"]["properties"]["snaplen"]["minimum"] == 128
