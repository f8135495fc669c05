"""The table of attributes: what dissectors tell of a connection or a request beside its labels, each defined here once.

They are of high cardinality and become no metric labels (`server.address` does where it is asked for, and bounded).
`safe` ones can hold no secret and are kept by default; what applications and their users name (paths, topics, keys,
databases, shares, devices, people) is kept where `--attributes` asks for it. Names are OpenTelemetry's where it has
one. Passwords, communities, cookies and authorizations are no attributes: no dissector reads them.

A protocol that is added declares its own in its `Dissector`; what several protocols tell stands here.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

__all__ = ["TABLE", "Attribute", "select"]

ALL, SAFE = "all", "safe"


class Attribute(NamedTuple):
    """What an attribute means, and whether it is kept unless somebody asks otherwise."""

    meaning: str
    safe: bool = True


TABLE: Mapping[str, Attribute] = {
    "amqp.reply_code": Attribute("why a channel or connection was closed, or a message came back"),
    "bgp.as": Attribute("the speaker's autonomous system"),
    "bgp.hold_time": Attribute("seconds that it proposes"),
    "bgp.notification.subcode": Attribute("what exactly the error is"),
    "bittorrent.client": Attribute("program and version, from the peer's id"),
    "db.collection.name": Attribute("collection or table", safe=False),
    "db.namespace": Attribute("database or keyspace; where none is named, the user's name is it", safe=False),
    "db.operation.name": Attribute("the command"),
    "db.response.status_code": Attribute("the database's own code of an error"),
    "dhcp.assigned_address": Attribute("address that the server gives"),
    "dhcp.client_mac": Attribute("the client's hardware address", safe=False),
    "dhcp.hostname": Attribute("what the client calls itself", safe=False),
    "dhcp.message_type": Attribute("DISCOVER, OFFER ..."),
    "dhcp.requested_address": Attribute("address that the client asks for"),
    "dhcp.vendor_class": Attribute("the client's kind"),
    "dhcpv6.hostname": Attribute("what the client calls itself", safe=False),
    "dhcpv6.message_type": Attribute("SOLICIT, ADVERTISE ..."),
    "dhcpv6.relays": Attribute("how many relays passed it on"),
    "dhcpv6.vendor_class": Attribute("the client's kind"),
    "dns.answers": Attribute("addresses and names in the answer, at most 16"),
    "dns.nodata": Attribute("true: the name exists and has no record of this type"),
    "dns.question.name": Attribute("name that is asked for"),
    "dns.question.type": Attribute("record type that is asked for"),
    "dns.response_code": Attribute("NOERROR, NXDOMAIN ..."),
    "error.type": Attribute("code by which a stream or connection was given up"),
    "http.request.method": Attribute("method as it was sent"),
    "http.response.status_code": Attribute("status code"),
    "kerberos.realm": Attribute("realm of the service"),
    "kerberos.service": Attribute("service that a ticket is for"),
    "ldap.bind.mechanism": Attribute("SASL mechanism"),
    "ldap.bind.method": Attribute("simple or sasl"),
    "messaging.client.id": Attribute("what the client calls itself", safe=False),
    "messaging.destination.name": Attribute("topic, exchange, queue or subject", safe=False),
    "messaging.rabbitmq.destination.routing_key": Attribute("routing key", safe=False),
    "modbus.unit": Attribute("the unit that is addressed"),
    "mysql.version_string": Attribute("the server's version"),
    "nats.version_string": Attribute("the server's version"),
    "netbios.name": Attribute("names of machines, groups and users that are asked for or told", safe=False),
    "ntp.mode": Attribute("client, server, broadcast ..."),
    "ntp.reference_id": Attribute("whom the server has its time from"),
    "ntp.stratum": Attribute("how far the clock is from its reference"),
    "ntp.version": Attribute("version in the packet"),
    "quic.close.error_code": Attribute("code of CONNECTION_CLOSE"),
    "quic.max_idle_timeout": Attribute("milliseconds that an end proposes"),
    "quic.version": Attribute("version in the packet"),
    "radius.nas_identifier": Attribute("access server that asks"),
    "rdp.requested_protocols": Attribute("ways of encryption that the client offers"),
    "rdp.selected_protocol": Attribute("the one that the server takes"),
    "rpc.method": Attribute("service and method of a gRPC call"),
    "rpc.response.status_code": Attribute("gRPC's status"),
    "rpc.system.name": Attribute("grpc"),
    "rtcp.fraction_lost": Attribute("share of packets that a receiver reports as lost"),
    "rtp.encoding": Attribute("encoding of a static payload type"),
    "rtp.payload_type": Attribute("payload type"),
    "rtp.ssrc": Attribute("synchronization source"),
    "rtsp.response.status_code": Attribute("status code"),
    "server.address": Attribute("name of the server: by SNI, Host, SOCKS ..., else by a DNS answer"),
    "server.port": Attribute("its port, where a request tells it"),
    "sip.response.status_code": Attribute("status code"),
    "smb.share": Attribute("path of the share", safe=False),
    "snmp.oid": Attribute("first object that is asked for or told"),
    "snmp.pdu": Attribute("type of the PDU"),
    "snmp.version": Attribute("v1, v2c or v3"),
    "ssdp.location": Attribute("URL of a device's description", safe=False),
    "ssdp.notification_subtype": Attribute("ssdp:alive, ssdp:byebye ..."),
    "ssdp.notification_type": Attribute("what is announced"),
    "ssdp.search_target": Attribute("what is searched for"),
    "ssdp.server": Attribute("the device's system and product"),
    "ssdp.unique_service_name": Attribute("the advertisement's identifier"),
    "ssh.cipher": Attribute("agreed cipher"),
    "ssh.compression": Attribute("agreed compression"),
    "ssh.host_key_algorithm": Attribute("agreed algorithm of the host's key"),
    "ssh.kex_algorithm": Attribute("agreed key exchange"),
    "ssh.mac": Attribute("agreed authentication code"),
    "ssh.version_string": Attribute("an end's identification"),
    "stun.mapped_address": Attribute("address that the server sees the client at"),
    "stun.software": Attribute("an end's software"),
    "syslog.facility": Attribute("facility of the message"),
    "telnet.option": Attribute("option that is negotiated"),
    "tls.alert": Attribute("description of an alert"),
    "tls.cipher": Attribute("agreed cipher suite"),
    "tls.client.alpn": Attribute("protocols that the client offers"),
    "tls.client.ech": Attribute("outer: the server's name is a cover, the real one is encrypted"),
    "tls.client.ja4": Attribute("JA4 fingerprint of the client's hello"),
    "tls.client.supported_versions": Attribute("versions that the client offers"),
    "tls.established": Attribute("true: both sides have gone over to encryption"),
    "tls.next_protocol": Attribute("agreed application protocol (ALPN)"),
    "tls.protocol.name": Attribute("tls or ssl"),
    "tls.protocol.version": Attribute("agreed version"),
    "tls.resumed": Attribute("whether a session was resumed"),
    "tls.server.issuer": Attribute("issuer of the server's certificate (TLS up to 1.2)"),
    "tls.server.names": Attribute("its alternative names"),
    "tls.server.not_after": Attribute("when it expires"),
    "tls.server.subject": Attribute("its subject"),
    "traceparent": Attribute("W3C trace context of a request"),
    "url.path": Attribute("path of a request, never its query", safe=False),
    "user_agent.original": Attribute("program that asks"),
    "vnc.protocol.version": Attribute("an end's version"),
    "vnc.security_type": Attribute("type that was taken"),
    "vnc.security_types": Attribute("types that the server offers"),
    "websocket.close.code": Attribute("status of a close"),
}


def select(words: Iterable[str], known: Mapping[str, Attribute] = TABLE) -> frozenset[str]:
    """Give the attributes to keep: those named, of which `safe` and `all` stand for many; with a leading `-`, not it.

    Where nothing is named, or only what is left out, it is the safe ones. Raise ValueError for an unknown name.
    """
    safe = frozenset(name for name, attribute in known.items() if attribute.safe)
    groups = {SAFE: safe, ALL: frozenset(known)}
    wanted, refused = set[str](), set[str]()
    unknown, named = set[str](), False
    for word in words:
        name = word.removeprefix("-")
        meant = groups.get(name) or frozenset({name})
        unknown |= meant - known.keys()
        named = named or name == word
        (wanted if name == word else refused).update(meant)
    if unknown:
        names = ", ".join(sorted(unknown))
        raise ValueError(f"no such attribute: {names}; known are: {SAFE}, {ALL}, {', '.join(sorted(known))}")
    return frozenset(wanted if named else safe) - refused
