"""Every TCP and UDP flow that independent tools see in the corpus, with the same packets and IP bytes.

The rules are those of the corpus' own score.py: packets and bytes are compared where two tools agree, outside of
tunnels and of flows with fragments; and no flow may be there that no tool saw. Run as a program, it prints the figures:
`python -m tests.decode.test_corpus [CORPUS]`.
"""

import json
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from exporter.capture.file import CaptureFile
from exporter.decode.frame import Decoder
from exporter.errors import FileFormatError, UndecodableError
from exporter.model import Packet

End = tuple[str, int]
Key = tuple[str, frozenset[End], bool]

HOSTILE_SECONDS = 10

# Flows that a tool calls so and we do not, each with its reason.
KNOWN = {
    (
        "zeek__tunnels__Teredo.pcap",
        "'2001:4860:0:2001::68', 80",
    ): "a client's Teredo to its relay, on a port of its own: tshark looks at 3544 only",
}


def show(address: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)


def packets(path: Path, ignored: Counter[str]) -> Iterator[Packet]:
    """Decode a capture, one decoder an interface, inner packets too."""
    decoders: dict[str, Decoder] = {}
    with CaptureFile(str(path)) as capture:
        for frame in capture:
            decoder = decoders.setdefault(frame.interface, Decoder(tunnels=True, fragments=1024))
            try:
                found = decoder.decode(frame.timestamp, frame.link, frame.data, frame.wire)
            except UndecodableError as problem:
                ignored[problem.reason] += 1
                continue
            for packet in found:
                inner: Packet | None = packet
                while inner is not None:
                    yield inner
                    inner = inner.inner
    for decoder in decoders.values():
        ignored["fragment"] += decoder.expire(float("inf"))[0]


def flows(path: Path, ignored: Counter[str]) -> dict[Key, dict[End, list[int]]]:
    """Packets and bytes by flow and sender."""
    found: dict[Key, dict[End, list[int]]] = {}
    for packet in packets(path, ignored):
        if packet.transport not in {"tcp", "udp"}:
            continue
        src, dst = (show(packet.src), packet.sport), (show(packet.dst), packet.dport)
        flow = found.setdefault((packet.transport, frozenset((src, dst)), bool(packet.tunnel)), {})
        sent = flow.setdefault(src, [0, 0])
        sent[0] += 1
        sent[1] += packet.size
    return found


def judge(path: Path, expected: dict[str, Any]) -> tuple[Counter[str], list[str]]:
    """Compare: the counts, and in words what differs."""
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    mine = flows(path, counts)
    wanted = [(False, flow) for flow in expected["flows"]] + [
        (True, flow) for flow in expected.get("inner_flows", [])
    ]
    seen = {(flow["transport"], frozenset((tuple(flow["low"]), tuple(flow["high"])))) for _, flow in wanted}
    for key in mine:
        counts["mine"] += 1
        counts["mine known"] += key[:2] in seen
        if key[:2] not in seen:
            wrong.append(f"{path.name}: {key[0]} {sorted(key[1])}: no tool saw it")
    for tunnelled, flow in wanted:
        if flow["transport"] not in {"tcp", "udp"}:
            continue
        low, high = tuple(flow["low"]), tuple(flow["high"])
        who = f"{path.name}: {flow['transport']} {low} {high}"
        counts["flows"] += 1
        got = mine.get((flow["transport"], frozenset((low, high)), tunnelled))
        counts["flows found"] += got is not None
        if got is None:
            wrong.append(f"{who}: not found")
        if tunnelled or flow.get("fragment_packets") or len(flow.get("sources", {}).get("packets", [])) < 2:
            continue
        for place, what in enumerate(("packets", "ip_bytes")):
            want = [flow["low_to_high"][what], flow["high_to_low"][what]]
            have = [(got or {}).get(end, [0, 0])[place] for end in (low, high)]
            same = want == have if low != high else sum(want) == have[0]
            counts[what] += 1
            counts[f"{what} right"] += same
            if not same:
                wrong.append(f"{who}: {what} {have}, expected {want}")
    return counts, wrong


def cases(corpus: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in sorted((corpus / "expected").glob("*.json")):
        yield corpus / "pcap" / path.stem, json.loads(path.read_text())


@pytest.mark.corpus
def test_every_flow_of_the_corpus(corpus: Path) -> None:
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    for path, expected in cases(corpus):
        more, differences = judge(path, expected)
        counts += more
        wrong += differences
    assert [line for line in wrong if not any(all(part in line for part in known) for known in KNOWN)] == []
    assert counts["flows found"] == counts["flows"] > 0


@pytest.mark.corpus
def test_every_record_of_the_corpus_is_read(corpus: Path) -> None:
    """As many as the tools count."""
    for path, expected in cases(corpus):
        with CaptureFile(str(path)) as capture:
            assert sum(1 for _ in capture) == expected["counts"]["frames"], path.name


@pytest.mark.corpus
def test_hostile_files_end_in_one_line_at_most(corpus: Path) -> None:
    for path in sorted((corpus / "hostile").iterdir()):
        began, lines = time.monotonic(), ""
        try:
            for packet in packets(path, Counter()):
                assert packet.size >= 0
                assert len(packet.payload) <= packet.length
        except FileFormatError as problem:
            lines = str(problem)
        assert "\n" not in lines
        assert time.monotonic() - began < HOSTILE_SECONDS, path.name


def main(corpus: Path) -> None:
    """Print the figures, and each difference."""
    total: Counter[str] = Counter()
    for path, expected in cases(corpus):
        counts, wrong = judge(path, expected)
        total += counts
        for line in wrong:
            print(line)
    for what, right in (
        ("flows", "flows found"),
        ("mine", "mine known"),
        *((w, f"{w} right") for w in ("packets", "ip_bytes")),
    ):
        print(f"{right:<16} {total[right]:6} / {total[what]:<6} {100 * total[right] / total[what]:6.2f} %")
    print(
        {
            reason: total[reason]
            for reason in ("not_ip", "truncated", "malformed", "link_type", "nested", "fragment")
        }
    )


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "../shared/corpus"))
