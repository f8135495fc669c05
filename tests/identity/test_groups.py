import pytest

from exporter.config import GroupRule
from exporter.errors import ConfigError
from exporter.identity.groups import Grouping

JAVA = ("java", "/usr/lib/jvm/bin/java", ("java", "-jar", "/opt/kafka.jar"), "kafka@1.service")

CASES = [
    ([], "java"),
    ([GroupRule("jvm", executable="^java$")], "jvm"),
    ([GroupRule("jvm", executable="/jvm/")], "jvm"),
    ([GroupRule("jvm", executable="^python")], "java"),
    ([GroupRule("{0}", command=r"-jar \S*/(\w+)\.jar")], "kafka"),
    ([GroupRule("{0}-{1}", executable="^(java)", unit=r"@(\d+)\.")], "java-1"),
    ([GroupRule("both", executable="^java", unit="nginx")], "java"),
    ([GroupRule("no", unit="nginx"), GroupRule("yes", unit="kafka"), GroupRule("late", unit="kafka")], "yes"),
    ([GroupRule("x{0}", executable="java(never)?")], "x"),
    ([GroupRule("{0}", executable="java(never)?")], "java"),  # an empty name names nobody
]


@pytest.mark.parametrize(("rules", "label"), CASES)
def test_rules(rules, label):
    assert Grouping(rules).label(*JAVA) == label


BAD = [
    (GroupRule("x", executable="("), "identity.groups[1].executable"),
    (GroupRule("x", command="*"), "identity.groups[1].command"),
    (GroupRule("x", unit="[z-a]"), "identity.groups[1].unit"),
    (GroupRule("x"), "identity.groups[1]"),
    (GroupRule("", unit="a"), "identity.groups[1].name"),
    (GroupRule("{1}", unit="(a)"), "identity.groups[1].name"),
    (GroupRule("{", unit="a"), "identity.groups[1].name"),
    (GroupRule("{a}", unit="a"), "identity.groups[1].name"),
    (GroupRule("{0.x}", unit="(a)"), "identity.groups[1].name"),
]


@pytest.mark.parametrize(("rule", "place"), BAD)
def test_a_bad_rule_is_named(rule, place):
    with pytest.raises(ConfigError) as caught:
        Grouping([GroupRule("ok", unit="a"), rule])
    assert str(caught.value).startswith(place)
    assert "\n" not in str(caught.value)


def test_labels_are_bounded_and_printable():
    label = Grouping([GroupRule("{0}", command="(?s)(.*)")]).label("a", "", ("b\x07\n" + "c" * 1000,), "")
    assert label.startswith("b??c")
    assert len(label) == 128


def test_the_supervisor_and_its_children_are_ours() -> None:
    grouping = Grouping()
    assert grouping.own(7, 7) == ""
    grouping.supervisor = 7
    assert grouping.own(7, 1) == grouping.own(9, 7) == "netproc-exporter"
    assert grouping.own(9, 8) == ""
