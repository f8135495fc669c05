"""AMQP 0-9-1's methods and reply codes (AMQP 0-9-1 specification, sections 1.2 and 1.4; RabbitMQ's extensions)."""

from typing import NamedTuple

__all__ = ["METHODS", "REPLY_CODES", "Method"]


class Method(NamedTuple):
    """A method: its name; what answers it; how many short texts stand before its bits, and which bit is no-wait."""

    name: str
    answers: tuple[int, ...] = ()
    texts: int = 0
    silent: int = 0


METHODS = {
    (10, 10): Method("connection.start"),
    (10, 11): Method("connection.start-ok"),
    (10, 20): Method("connection.secure"),
    (10, 21): Method("connection.secure-ok"),
    (10, 30): Method("connection.tune"),
    (10, 31): Method("connection.tune-ok"),
    (10, 40): Method("connection.open", (41,)),
    (10, 41): Method("connection.open-ok"),
    (10, 50): Method("connection.close", (51,)),
    (10, 51): Method("connection.close-ok"),
    (10, 60): Method("connection.blocked"),
    (10, 61): Method("connection.unblocked"),
    (10, 70): Method("connection.update-secret", (71,)),
    (10, 71): Method("connection.update-secret-ok"),
    (20, 10): Method("channel.open", (11,)),
    (20, 11): Method("channel.open-ok"),
    (20, 20): Method("channel.flow", (21,)),
    (20, 21): Method("channel.flow-ok"),
    (20, 40): Method("channel.close", (41,)),
    (20, 41): Method("channel.close-ok"),
    (40, 10): Method("exchange.declare", (11,), 2, 16),
    (40, 11): Method("exchange.declare-ok"),
    (40, 20): Method("exchange.delete", (21,), 1, 2),
    (40, 21): Method("exchange.delete-ok"),
    (40, 30): Method("exchange.bind", (31,), 3, 1),
    (40, 31): Method("exchange.bind-ok"),
    (40, 40): Method("exchange.unbind", (51,), 3, 1),
    (40, 51): Method("exchange.unbind-ok"),
    (50, 10): Method("queue.declare", (11,), 1, 16),
    (50, 11): Method("queue.declare-ok"),
    (50, 20): Method("queue.bind", (21,), 3, 1),
    (50, 21): Method("queue.bind-ok"),
    (50, 30): Method("queue.purge", (31,), 1, 1),
    (50, 31): Method("queue.purge-ok"),
    (50, 40): Method("queue.delete", (41,), 1, 4),
    (50, 41): Method("queue.delete-ok"),
    (50, 50): Method("queue.unbind", (51,)),
    (50, 51): Method("queue.unbind-ok"),
    (60, 10): Method("basic.qos", (11,)),
    (60, 11): Method("basic.qos-ok"),
    (60, 20): Method("basic.consume", (21,), 2, 8),
    (60, 21): Method("basic.consume-ok"),
    (60, 30): Method("basic.cancel", (31,)),
    (60, 31): Method("basic.cancel-ok"),
    (60, 40): Method("basic.publish"),
    (60, 50): Method("basic.return"),
    (60, 60): Method("basic.deliver"),
    (60, 70): Method("basic.get", (71, 72)),
    (60, 71): Method("basic.get-ok"),
    (60, 72): Method("basic.get-empty"),
    (60, 80): Method("basic.ack"),
    (60, 90): Method("basic.reject"),
    (60, 100): Method("basic.recover-async"),
    (60, 110): Method("basic.recover", (111,)),
    (60, 111): Method("basic.recover-ok"),
    (60, 120): Method("basic.nack"),
    (85, 10): Method("confirm.select", (11,)),
    (85, 11): Method("confirm.select-ok"),
    (90, 10): Method("tx.select", (11,)),
    (90, 11): Method("tx.select-ok"),
    (90, 20): Method("tx.commit", (21,)),
    (90, 21): Method("tx.commit-ok"),
    (90, 30): Method("tx.rollback", (31,)),
    (90, 31): Method("tx.rollback-ok"),
}
"""By class and method."""

REPLY_CODES = {
    200: "ok",
    311: "content_too_large",
    312: "no_route",
    313: "no_consumers",
    320: "connection_forced",
    402: "invalid_path",
    403: "access_refused",
    404: "not_found",
    405: "resource_locked",
    406: "precondition_failed",
    501: "frame_error",
    502: "syntax_error",
    503: "command_invalid",
    504: "channel_error",
    505: "unexpected_frame",
    506: "resource_error",
    530: "not_allowed",
    540: "not_implemented",
    541: "internal_error",
}
