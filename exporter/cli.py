"""The command line: `netproc-exporter COMMAND`. User errors are one line and exit status 1 or 2, never a traceback."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from exporter.errors import ConfigError, UserError

if TYPE_CHECKING:
    from exporter.config import Config

__all__ = ["main", "whole_parser"]

PROGRAM = "netproc-exporter"
SUMMARY = "Prometheus exporter of per-process network traffic: peers, protocols, connection states and bytes."
INTERRUPTED, PIPE_CLOSED = 130, 141  # what a shell shows for SIGINT and SIGPIPE

Arguments = argparse.Namespace


class Command(NamedTuple):
    """One command: what help says of it, its own arguments, whether it takes all settings, what it does."""

    summary: str
    examples: str
    add: Callable[[argparse.ArgumentParser], object] | None
    settings: bool
    action: Callable[[Arguments], int]


class Parser(argparse.ArgumentParser):
    """A parser whose errors are ours: one line."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message} (see {self.prog} --help)")


def _config(arguments: Arguments) -> "Config":
    """Put the configuration together from the flags that were given and all other places."""
    from exporter.app.launch import require_attributes, require_protocols
    from exporter.configload import load, settings

    flags = {key: value for key, value in vars(arguments).items() if key in settings()}
    config = load(flags, file=arguments.config_file)
    require_protocols(config)
    require_attributes(config)
    return config


# ---------------------------------------------------------------- commands


def _run(arguments: Arguments) -> int:
    from exporter.app.launch import launch

    launch(_config(arguments))


def _replay(arguments: Arguments) -> int:
    config = _config(arguments)
    from exporter import log
    from exporter.app.replay import replay

    log.configure(config.log.level, config.log.format)
    return replay(arguments.file, arguments.format, config)


def _check(arguments: Arguments) -> int:
    from exporter.app.check import check

    return check(_config(arguments), arguments.format)


def _metrics(_arguments: Arguments) -> int:
    from exporter.app.tables import metrics

    print(metrics())
    return 0


def _protocols(_arguments: Arguments) -> int:
    from exporter.app.tables import protocols

    print(protocols())
    return 0


def _attributes(_arguments: Arguments) -> int:
    from exporter.app.tables import attributes

    print(attributes())
    return 0


def _show_config(arguments: Arguments) -> int:
    from exporter.app.tables import configuration, schema

    print(schema() if arguments.schema else configuration(_config(arguments)), end="")
    return 0


def _completion(arguments: Arguments) -> int:
    import shtab

    print(shtab.complete(whole_parser(), shell=arguments.shell))
    return 0


# ---------------------------------------------------------------- their arguments


def _add_replay(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", metavar="FILE", help="capture file (pcap, pcapng, also gzip'd); - is standard input"
    )
    formats = ["summary", "jsonl", "prometheus"]
    parser.add_argument(
        "--format", choices=formats, default="summary", help="summary is for people (default)"
    )


def _add_check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--format", choices=["text", "json"], default="text", help="text is for people (default)"
    )


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--schema", action="store_true", help="print the JSON schema of the YAML file instead"
    )


def _add_completion(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=["bash", "zsh"])


COMMANDS = {
    "run": Command(
        "capture, and serve the metrics",
        """
  netproc-exporter run
  netproc-exporter run -i eth0 -i 'veth*' --web.listen-address 127.0.0.1:10187
  NETPROC_CAPTURE_SNAPLEN=4096 netproc-exporter run --config.file /etc/netproc.yaml""",
        None,
        settings=True,
        action=_run,
    ),
    "replay": Command(
        "read a capture file on its own clock and show what was in it",
        """
  netproc-exporter replay trace.pcap
  netproc-exporter replay trace.pcapng.gz --format jsonl | jq .
  tcpdump -w - -c 1000 | netproc-exporter replay -""",
        _add_replay,
        settings=True,
        action=_replay,
    ),
    "check": Command(
        "say what this machine allows, what will be used, and why not better",
        """
  netproc-exporter check
  netproc-exporter check --format json -i eth0""",
        _add_check,
        settings=True,
        action=_check,
    ),
    "metrics": Command(
        "document every metric", "\n  netproc-exporter metrics", None, settings=False, action=_metrics
    ),
    "protocols": Command(
        "list the protocols that are read",
        "\n  netproc-exporter protocols",
        None,
        settings=False,
        action=_protocols,
    ),
    "attributes": Command(
        "list the attributes of messages, and which are kept by default",
        """
  netproc-exporter attributes
  netproc-exporter run --attributes safe,url.path""",
        None,
        settings=False,
        action=_attributes,
    ),
    "config": Command(
        "check the configuration and print it, complete, as YAML",
        """
  netproc-exporter config --config.file netproc.yaml
  netproc-exporter config > netproc.yaml
  netproc-exporter config --schema > netproc.schema.json""",
        _add_config,
        settings=True,
        action=_show_config,
    ),
    "completion": Command(
        "print completions for a shell",
        """
  netproc-exporter completion bash > /etc/bash_completion.d/netproc-exporter
  netproc-exporter completion zsh > /usr/local/share/zsh/site-functions/_netproc-exporter""",
        _add_completion,
        settings=False,
        action=_completion,
    ),
}


# ---------------------------------------------------------------- parsing


def _fill(parser: argparse.ArgumentParser, command: Command) -> argparse.ArgumentParser:
    if command.add:
        command.add(parser)
    if command.settings:
        from exporter.configload import add_flags

        parser.add_argument(
            "--config.file", dest="config_file", metavar="FILE", default="", help="YAML file with settings"
        )
        add_flags(parser)
    return parser


def _style(command: Command) -> dict[str, object]:
    """Usage does not list every setting: there are eighty."""
    file = " FILE" if command.add is _add_replay else ""
    return {
        "usage": f"%(prog)s [FLAGS]{file}" if command.settings else None,
        "description": command.summary[0].upper() + command.summary[1:] + ".",
        "epilog": f"examples:{command.examples}",
        "formatter_class": argparse.RawDescriptionHelpFormatter,
        "allow_abbrev": False,
    }


def _top() -> argparse.ArgumentParser:
    parser = Parser(
        prog=PROGRAM,
        description=SUMMARY,
        epilog="examples:\n  netproc-exporter run\n  netproc-exporter run --help\n  netproc-exporter check",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("-V", "--version", action="store_true", help="print the version and exit")
    return parser


def whole_parser() -> argparse.ArgumentParser:
    """Give the parser of everything, as shell completion reads it."""
    parser = _top()
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, title="commands")
    for name, command in COMMANDS.items():
        _fill(commands.add_parser(name, help=command.summary, **_style(command)), command)  # type: ignore[arg-type]  # keywords by name
    return parser


def _top_help() -> str:
    """Help without the settings of every command, which take long to list."""
    parser = _top()
    commands = parser.add_subparsers(metavar="COMMAND", title="commands")
    for name, command in COMMANDS.items():
        commands.add_parser(name, help=command.summary, add_help=False)
    return parser.format_help()


def _parse(name: str, words: Sequence[str]) -> Arguments:
    """Read one command's arguments; an unknown flag is named with what it is perhaps meant to be."""
    command = COMMANDS[name]
    parser = _fill(Parser(prog=f"{PROGRAM} {name}", **_style(command)), command)  # type: ignore[arg-type]  # as above
    arguments, rest = parser.parse_known_args(words)
    if rest:
        from exporter.configload import suggest

        known = [option for action in parser._actions for option in action.option_strings]  # noqa: SLF001  (argparse offers no list)
        what = "unknown flag" if rest[0].startswith("-") else "unexpected argument"
        raise ConfigError(
            f"{rest[0]}: {what}{suggest(rest[0].partition('=')[0], known)} (see {parser.prog} --help)"
        )
    return arguments


def _dispatch(words: Sequence[str]) -> int:
    first = words[0] if words else ""
    if first in COMMANDS:
        return COMMANDS[first].action(_parse(first, words[1:]))
    if first in {"-h", "--help", "help"}:
        print(_top_help(), end="")
        return 0
    if first in {"-V", "--version", "version"}:
        from exporter import __version__

        print(f"{PROGRAM} {__version__}")
        return 0
    names = ", ".join(COMMANDS)
    if not first or first.startswith("-"):
        example = " ".join([PROGRAM, "run", *words])
        raise ConfigError(f"say what to do: one of {names}; for example: {example}")
    from exporter.configload import suggest

    raise ConfigError(f"{first}: unknown command{suggest(first, COMMANDS)}; there are {names}")


def main(words: Sequence[str] | None = None) -> int:
    """Run a command and give its exit status."""
    try:
        status = _dispatch(sys.argv[1:] if words is None else words)
        sys.stdout.flush()
    except UserError as error:
        text = " ".join(str(error).split())  # one line, whatever a library put into its message
        print(f"{PROGRAM}: {text}", file=sys.stderr)
        return error.status
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # or the interpreter complains at its end
        return PIPE_CLOSED
    return status
