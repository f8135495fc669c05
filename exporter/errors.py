"""One family of errors. What a user did wrong is a `UserError`: one line, no traceback, exit status 1 or 2."""


class NetprocError(Exception):
    """The root of every error that this package raises on purpose."""


class UserError(NetprocError):
    """Something that the user can mend; the text is one line that says what to do."""

    status = 1
    """Exit status: 1, the machine does not allow it now; 2, the request itself is wrong."""


class ConfigError(UserError):
    """A flag, environment variable or key of the configuration file is wrong; the text names its place."""

    status = 2


class CaptureError(UserError):
    """An interface cannot be opened, or a filter is not understood."""


class FileFormatError(UserError):
    """A capture file cannot be read: not a capture, truncated, or impossible lengths."""


class ParseError(NetprocError):
    """A dissector's only error: these bytes are not the protocol that they began as.

    `reason` comes from a small set because it becomes a label.
    """

    def __init__(self, reason: str = "malformed") -> None:
        """Keep the reason, one of a few words in lower case."""
        super().__init__(reason)
        self.reason = reason


class ShortError(ParseError):
    """The data ends before the field does. A stream parser takes it as "need more", a datagram's as truncated."""

    def __init__(self) -> None:
        """Take no words: there is only one way to end too early."""
        super().__init__("short")


class UndecodableError(NetprocError):
    """A frame that cannot be counted as an IP packet; `reason` is the label of `netproc_ignored_packets_total`."""

    def __init__(self, reason: str) -> None:
        """Keep the reason: `not_ip`, `truncated`, `malformed`, `link_type`, `nested` or `fragment`."""
        super().__init__(reason)
        self.reason = reason
