"""offload.h, filters.py and the compiled object say the same."""

import pytest

from exporter.ebpf import filters
from tests.ebpf.test_layout import Types, spell


@pytest.mark.parametrize("name", filters.FIELDS)
def test_structs(objects, tool, name):
    types = Types(objects / "offload.bpf.o", tool("bpftool"))
    packing, fields = filters.FIELDS[name]
    one = types.structs[name]
    assert tuple(part["name"] for part in one["members"]) == fields
    assert spell(types.expand(one)) == spell(packing.format)
    assert one["size"] == packing.size
