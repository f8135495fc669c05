"""What is rendered is read back by prometheus_client's parsers as what went in, and promtool is silent."""

import os
import subprocess
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from exporter import config as settings
from exporter import metrics as m
from exporter.config import Config
from exporter.export import document
from exporter.export.names import ShortNames
from exporter.export.negotiate import wish
from exporter.export.prometheus import Renderer
from exporter.metrics import Kind, Origin
from exporter.model import IdentityKey
from tests.conftest import find_tool
from tests.export.conftest import CURL, ODD, Shard, fill

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
DESIGN = """
receive_bytes_total transmit_bytes_total receive_packets_total transmit_packets_total
receive_bytes_per_second transmit_bytes_per_second peer_receive_bytes_total
peer_transmit_bytes_total connections connections_by_staleness connections_opened_total
connections_closed_total connections_failed_total handshake_duration_seconds requests_total
request_errors_total unanswered_requests_total request_duration_seconds protocol_versions_total
certificate_expiry_timestamp_seconds retransmitted_segments_total build_info capture_up
captured_packets_total captured_bytes_total lost_packets_total lost_events_total
ignored_packets_total ignored_bytes_total estimated_segments_total interface_receive_bytes_total
interface_transmit_bytes_total table_connections table_limit evictions_total attributions_total
dissector_faults_total series series_limit series_overflow_total worker_restarts_total
degraded_info scrape_duration_seconds
"""
GOLDEN = Path(__file__).parent / "golden"


def renderer(*shards, created=False, names=None):
    for one in shards:
        one.publish()
    config = Config(metrics=settings.Metrics(created=created))
    return Renderer(config, [one.buffer for one in shards], names or ShortNames())


@pytest.fixture
def filled():
    return renderer(fill(Shard()), Shard(origin=Origin.IDENTITY), created=True)


def text(renderer, accept="", names=()):
    return renderer.render(wish(accept, names)).decode()


def samples(families):
    return {
        (one.name, tuple(sorted(one.labels.items()))): one.value
        for family in families
        for one in family.samples
        if not one.name.startswith("process_")
    }


@pytest.mark.parametrize(("accept", "parse"), [("", parse_text), (OPENMETRICS, parse_openmetrics)])
def test_what_went_in_is_read_back(filled, accept, parse):
    found = samples(parse(text(filled, accept)))
    curl = (("container", ""), ("process", "curl"))
    http = (*curl, ("protocol", "http"), ("transport", "tcp"))
    assert found["netproc_receive_bytes_total", http] == 2**53
    odd = (("container", "0123456789ab"), ("process", ODD.process), ("protocol", "tls"), ("transport", "tcp"))
    assert found["netproc_receive_bytes_total", odd] == 17
    assert found["netproc_receive_bytes_per_second", odd] == pytest.approx(17 * 0.0951626)
    states = (*curl, ("protocol", "http"), ("state", "established"), ("transport", "tcp"))
    assert found["netproc_connections", states] == 3
    server = (*curl, ("server_name", "example.org"))
    assert found["netproc_certificate_expiry_timestamp_seconds", server] == 1_893_456_000.5
    name, who = "netproc_handshake_duration_seconds", (("handshake", "tcp"), ("process", "curl"))
    assert found[name + "_count", who] == 2
    assert found[name + "_sum", who] == 77.504
    buckets = [
        found[name + "_bucket", tuple(sorted((*who, ("le", le))))] for le in ("0.001", "0.005", "5.0", "+Inf")
    ]
    assert buckets == [0, 1, 1, 2]
    assert found["netproc_degraded_info", (("component", "capture"), ("reason", "no_ring"))] == 1
    assert "9007199254740992\n" in text(filled, accept)


def test_both_formats_say_the_same(filled):
    first, second = samples(parse_text(text(filled))), samples(parse_openmetrics(text(filled, OPENMETRICS)))
    second = {key: value for key, value in second.items() if not key[0].endswith("_created")}
    for one in (first, second):
        del one["netproc_scrape_duration_seconds", ()]
    assert first == second


def test_types_and_units_are_those_of_the_table(filled):
    found = {family.name: family for family in parse_openmetrics(text(filled, OPENMETRICS))}
    for one in m.ALL:
        base = one.name.removesuffix("_total").removesuffix("_info")
        if base in found:
            assert (found[base].type, found[base].unit, found[base].documentation) == (
                str(one.kind),
                one.unit_name,
                one.help,
            )


def test_times_of_creation_stand_in_openmetrics_alone(filled):
    found = samples(parse_openmetrics(text(filled, OPENMETRICS)))
    created = {key[0]: value for key, value in found.items() if key[0].endswith("_created")}
    assert created["netproc_receive_bytes_created"] == 1_700_000_000.0
    assert created["netproc_handshake_duration_seconds_created"] == 1_700_000_000.0
    assert "_created" not in text(filled)
    assert "_created" not in text(renderer(fill(Shard()), Shard(origin=Origin.IDENTITY)), OPENMETRICS)


def test_the_order_is_stable(filled):
    def lines():
        body = text(filled).splitlines()
        return [line.rsplit(" ", 1)[0] for line in body if not line.startswith("process_")]

    assert lines() == lines()
    names = [line.split()[2] for line in lines() if line.startswith("# TYPE netproc_")]
    assert names == sorted(names)
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("group", "names"),
    [
        (
            "bytes",
            ("netproc_receive_bytes_total", "netproc_transmit_bytes", "netproc_receive_bytes_per_second"),
        ),
        ("connections", ("netproc_connections", "netproc_retransmitted_segments_total")),
        ("durations", ("netproc_handshake_duration_seconds",)),
        ("attribution", ("netproc_attributions_total", "netproc_certificate_expiry_timestamp_seconds")),
        (
            "health",
            ("netproc_capture_up", "netproc_degraded_info", "netproc_worker_restarts", "netproc_worker_up"),
        ),
        ("tables", ("netproc_evictions_total", "netproc_table_limit", "netproc_series_overflow_total")),
        ("identity", ("netproc_identity_questions_total", "netproc_identity_scan_seconds_total")),
    ],
)
@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_golden(filled, group, names, accept):
    path = GOLDEN / f"{group}{'.openmetrics' if accept else ''}.txt"
    found = text(filled, accept, names)
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(found)
    assert found == path.read_text()


@pytest.mark.skipif(find_tool("promtool") is None, reason="no promtool")
def test_promtool_is_silent(filled):
    done = subprocess.run(
        [find_tool("promtool"), "check", "metrics"],
        input=text(filled),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_a_label_that_is_there_only_where_it_is_asked_for():
    shard = Shard()
    shard.add(m.PEER_TRANSMIT_BYTES, CURL, ("public", ""), 1)
    shard.add(m.PEER_TRANSMIT_BYTES, CURL, ("public", "a.example"), 2)
    lines = [
        line for line in text(renderer(shard)).splitlines() if line.startswith("netproc_peer_transmit_bytes")
    ]
    assert sorted("server_address=" in line for line in lines) == [False, True]
    assert sum('server_address="a.example"} 2' in line for line in lines) == 1


@pytest.mark.skipif(find_tool("promtool") is None, reason="no promtool")
def test_promtool_is_silent_on_every_family():
    worker, identity = Shard(), Shard(origin=Origin.IDENTITY)
    for family in m.ALL:
        if family.origin is not Origin.EXPORTER:
            shard = worker if family.origin is Origin.WORKER else identity
            shard.add(family, CURL, tuple("x" for _ in family.labels), 1)
    body = text(renderer(worker, identity))
    assert all(f"# TYPE {family.name} " in body for family in m.ALL if family is not m.DEGRADED)
    done = subprocess.run(
        [find_tool("promtool"), "check", "metrics"], input=body, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_names_come_from_the_table_of_the_design():
    """DESIGN section 5, word for word."""
    names = {one.name for one in m.ALL}
    assert names >= {f"netproc_{name}" for name in DESIGN.split()}
    assert len(names) == len(m.ALL)
    assert len({one.otel for one in m.ALL}) == len(m.ALL)


def test_the_table_written_out_names_every_family():
    for one in m.ALL:
        assert f"`{one.name}`" in document.markdown()
        assert one.name in document.table()
        assert one.help.endswith(".")
        if one.kind is not Kind.HISTOGRAM:
            assert not one.buckets


@pytest.mark.parametrize(
    ("names", "there", "absent"),
    [
        (["netproc_connections"], "netproc_connections{", "netproc_receive_bytes_total"),
        (["netproc_receive_bytes"], "netproc_receive_bytes_total{", "netproc_connections{"),
        (
            ["netproc_handshake_duration_seconds_bucket"],
            "netproc_handshake_duration_seconds_sum",
            "netproc_build",
        ),
        (["process_open_fds"], "process_open_fds ", "netproc_"),
    ],
)
def test_a_filter_leaves_the_families_asked_for(filled, names, there, absent):
    body = text(filled, "", names)
    assert there in body
    assert absent not in body


class Cluster:
    """Names of a cluster in which one pod is not known yet."""

    kubernetes = True
    version = 1

    def container_name(self, container):
        return {"c" * 64: "main"}.get(container, container[:12])

    def pod(self, uid):
        from exporter.export.names import Pod

        return {"uid-1": Pod("shop", "cart-1", "cart"), "uid-2": Pod("shop", "cart-2", "cart")}.get(uid)


def test_with_kubernetes_all_its_labels_are_always_present():
    worker = Shard()
    worker.add(m.RECEIVE_BYTES, IdentityKey("nginx", "c" * 64, "uid-1"), ("http", "tcp"), 5)
    worker.add(m.RECEIVE_BYTES, IdentityKey("late", "d" * 64, "uid-9"), ("http", "tcp"), 5)
    worker.add(m.RECEIVE_BYTES, CURL, ("http", "tcp"), 5)
    body = text(renderer(worker, Shard(origin=Origin.IDENTITY), names=Cluster()))
    assert (
        'netproc_receive_bytes_total{container="main",namespace="shop",pod="cart-1",process="nginx",'
        'protocol="http",transport="tcp",workload="cart"} 5\n'
    ) in body
    assert 'container="",namespace="",pod="",process="curl"' in body
    assert "late" not in body  # withheld until its pod has a name
