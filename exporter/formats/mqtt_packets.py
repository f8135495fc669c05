"""MQTT's control packets and reason codes (MQTT 3.1.1 section 2, MQTT 5.0 sections 2 and 2.4)."""

from exporter.errors import ShortError
from exporter.wire import Reader

__all__ = ["FLAGS", "NAMES", "REASONS", "RETURN_CODES", "VERSIONS", "fixed_header", "properties", "text"]

NAMES = {
    1: "connect",
    2: "connack",
    3: "publish",
    4: "puback",
    5: "pubrec",
    6: "pubrel",
    7: "pubcomp",
    8: "subscribe",
    9: "suback",
    10: "unsubscribe",
    11: "unsuback",
    12: "pingreq",
    13: "pingresp",
    14: "disconnect",
    15: "auth",
}
FLAGS = {6: 2, 8: 2, 10: 2}
"""The four lower bits that a packet must have; 0 where it is not named, anything for publish."""

VERSIONS = {3: "3.1", 4: "3.1.1", 5: "5"}

RETURN_CODES = {
    0: "success",
    1: "unsupported_protocol_version",
    2: "client_identifier_not_valid",
    3: "server_unavailable",
    4: "bad_user_name_or_password",
    5: "not_authorized",
}
"""Of CONNACK before MQTT 5 (MQTT 3.1.1 section 3.2.2.3)."""

REASONS = {
    0x00: "success",
    0x01: "success",
    0x02: "success",
    0x04: "disconnect_with_will",
    0x10: "no_matching_subscribers",
    0x11: "no_subscription_existed",
    0x18: "continue_authentication",
    0x19: "re_authenticate",
    0x80: "unspecified_error",
    0x81: "malformed_packet",
    0x82: "protocol_error",
    0x83: "implementation_specific_error",
    0x84: "unsupported_protocol_version",
    0x85: "client_identifier_not_valid",
    0x86: "bad_user_name_or_password",
    0x87: "not_authorized",
    0x88: "server_unavailable",
    0x89: "server_busy",
    0x8A: "banned",
    0x8B: "server_shutting_down",
    0x8C: "bad_authentication_method",
    0x8D: "keep_alive_timeout",
    0x8E: "session_taken_over",
    0x8F: "topic_filter_invalid",
    0x90: "topic_name_invalid",
    0x91: "packet_identifier_in_use",
    0x92: "packet_identifier_not_found",
    0x93: "receive_maximum_exceeded",
    0x94: "topic_alias_invalid",
    0x95: "packet_too_large",
    0x96: "message_rate_too_high",
    0x97: "quota_exceeded",
    0x98: "administrative_action",
    0x99: "payload_format_invalid",
    0x9A: "retain_not_supported",
    0x9B: "qos_not_supported",
    0x9C: "use_another_server",
    0x9D: "server_moved",
    0x9E: "shared_subscriptions_not_supported",
    0x9F: "connection_rate_exceeded",
    0xA0: "maximum_connect_time",
    0xA1: "subscription_identifiers_not_supported",
    0xA2: "wildcard_subscriptions_not_supported",
}


def fixed_header(data: bytes, at: int) -> tuple[int, int]:
    """Give a fixed header's length and the remaining length; (0, 0): wait for more, (0, -1): it is none."""
    left = 0
    for index in range(4):
        place = at + 1 + index
        if place >= len(data):
            return 0, 0
        byte = data[place]
        left |= (byte & 0x7F) << 7 * index
        if not byte & 0x80:
            return index + 2, left
    return 0, -1


def text(reader: Reader) -> bytes:
    """Read a text, or bytes, after their length."""
    return reader.take(reader.u16())


def properties(reader: Reader) -> None:
    """Pass over MQTT 5's properties."""
    size = shift = 0
    while True:
        byte = reader.u8()
        size |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            break
        if shift > 21:
            raise ShortError
    reader.skip(size)
