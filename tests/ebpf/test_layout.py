"""shared.h, layout.py and the compiled objects say the same; clang takes the sources without a word."""

import json
import subprocess
from struct import calcsize

import pytest

from exporter.ebpf import layout

INTEGERS = {1: "B", 2: "H", 4: "I", 8: "Q"}


class Types:
    """An object's BTF, as bpftool reads it."""

    def __init__(self, path, bpftool):
        dump = subprocess.run([bpftool, "-j", "btf", "dump", "file", path], capture_output=True, check=True)
        self.types = {one["id"]: one for one in json.loads(dump.stdout)["types"]}
        self.structs = {one["name"]: one for one in self.types.values() if one["kind"] == "STRUCT"}

    def bare(self, number):
        one = self.types[number]
        while one["kind"] in {"TYPEDEF", "CONST", "VOLATILE"}:
            one = self.types[one["type_id"]]
        return one

    def expand(self, one, name=""):
        """A type as struct's letters, one for each value; bytes together, padding apart."""
        if name == "pad":
            return "x" * self.size(one)
        if one["kind"] == "INT":
            return INTEGERS[one["size"]]
        if one["kind"] == "ARRAY":
            item = self.bare(one["type_id"])
            if item["kind"] == "INT" and item["size"] == 1:
                return f"{one['nr_elems']}s" if one["nr_elems"] else ""
            return self.expand(item) * one["nr_elems"]
        if name == "key":
            return f"{one['size']}s"
        return "".join(self.expand(self.bare(part["type_id"]), part["name"]) for part in one["members"])

    def size(self, one):
        if one["kind"] == "ARRAY":
            return self.size(self.bare(one["type_id"])) * one["nr_elems"]
        return one["size"]


@pytest.fixture(scope="module", params=["flow", "socket"])
def types(request, objects, tool):
    return Types(objects / f"{request.param}.bpf.o", tool("bpftool"))


def spell(pattern):
    """`4Q` as `QQQQ`: as the expansion writes it."""
    letters, number = "", ""
    for letter in pattern.lstrip("=@"):
        if letter.isdigit():
            number += letter
            continue
        letters += f"{number}s" if letter == "s" else letter * int(number or 1)
        number = ""
    return letters


@pytest.mark.parametrize("name", layout.FIELDS)
def test_a_struct_is_the_same_on_both_sides(types, name):
    packed, fields = layout.FIELDS[name]
    one = types.structs[name]
    assert one["size"] == packed.size == calcsize(packed.format)
    assert tuple(member["name"] for member in one["members"]) == fields
    letters = "".join(types.expand(types.bare(part["type_id"]), part["name"]) for part in one["members"])
    assert letters == spell(packed.format)


@pytest.mark.parametrize("name", layout.FIELDS)
def test_a_struct_has_no_holes(types, name):
    at = 0
    for member in types.structs[name]["members"]:
        assert member["bits_offset"] == at * 8, member["name"]
        at += types.size(types.bare(member["type_id"]))
    assert at == types.structs[name]["size"]


def test_the_enumerations_are_the_headers(repo):
    header = (repo / "exporter/ebpf/shared.h").read_text()

    def names(first, last):
        block = header[header.index(first) : header.index(last)]
        return [
            word.strip(" \t,") for line in block.splitlines() for word in line.partition("/*")[0].split(",")
        ]

    origins = [f"ORIGIN_{one.name}" for one in layout.Origin]
    assert [word for word in names("ORIGIN_NONE,", "};\n\n/*\n * One socket") if word] == origins
    assert [word for word in names("LOST_FRAMES,", "HEALTH,\n") if word] == [
        one.name for one in layout.Health
    ]


def test_handles_come_back_from_a_flag_as_they_went():
    handles = layout.Handles((3, 4), (5, 6), 7, 8, 9, 10, 8 << 20)
    assert handles.flag() == "3,4,5,6,7,8,9,10,8388608"
    assert layout.Handles.parse(handles.flag()) == handles
    with pytest.raises(ValueError, match="unpack"):
        layout.Handles.parse("3,4")
