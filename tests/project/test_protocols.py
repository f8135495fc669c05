"""README's table of protocols is what `netproc-exporter protocols` says."""

from pathlib import Path

from exporter import dpi

README = Path(__file__).resolve().parents[2] / "README.md"


def test_readme_lists_what_is_read():
    text = README.read_text(encoding="utf-8")
    table = text.partition("<!-- protocols:")[2].partition("\n\n")[0].splitlines()[3:]
    rows = [(d.name, ", ".join(sorted(d.transports)), d.reads, d.specification) for d in dpi.load()]
    assert table == [f"| {' | '.join(row)} |" for row in sorted(rows)]
