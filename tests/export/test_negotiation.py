"""Accept, Accept-Encoding."""

import pytest
from prometheus_client.exposition import choose_encoder

from exporter.export.negotiate import accepts_gzip, wish

PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,"
    "text/plain;version=0.0.4;q=0.2,/;q=0.1"
)


@pytest.mark.parametrize(
    "accept",
    ["", "*/*", "text/html", "text/plain", PROMETHEUS_2, PROMETHEUS_3, "application/openmetrics-text"],
)
def test_as_prometheus_client_chooses(accept):
    assert wish(accept).content_type == choose_encoder(accept)[1].removesuffix("; escaping=underscores")


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (
            "text/plain;q=0.5,application/openmetrics-text;q=0.9",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
        (
            "application/openmetrics-text;q=0.1,text/plain;version=0.0.4",
            "text/plain; version=0.0.4; charset=utf-8",
        ),
        ("application/openmetrics-text;version=2.0.0,text/plain", "text/plain; version=0.0.4; charset=utf-8"),
        ("application/openmetrics-text;q=0", "text/plain; version=0.0.4; charset=utf-8"),
        (
            "text/plain;version=1.0.0;escaping=evil\r\nx: y",
            "text/plain; version=1.0.0; charset=utf-8",
        ),
        ("application/openmetrics-text;q=x,;;;=,", "text/plain; version=0.0.4; charset=utf-8"),
    ],
)
def test_weights_count_and_only_our_versions_are_promised(accept, content_type):
    assert wish(accept).content_type == content_type


@pytest.mark.parametrize(
    ("accept", "answer"),
    [
        ("", False),
        ("gzip", True),
        ("deflate, GZIP;q=0.5", True),
        ("gzip;q=0", False),
        ("*", True),
        ("br", False),
    ],
)
def test_gzip(accept, answer):
    assert accepts_gzip(accept) is answer
