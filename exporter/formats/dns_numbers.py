"""DNS parameters as IANA's registry has them: opcodes, response codes, record types."""

__all__ = ["OPCODES", "RCODES", "TYPES", "type_name"]

OPCODES = {0: "query", 1: "iquery", 2: "status", 4: "notify", 5: "update", 6: "dso"}

RCODES = {
    0: "NOERROR",
    1: "FORMERR",
    2: "SERVFAIL",
    3: "NXDOMAIN",
    4: "NOTIMP",
    5: "REFUSED",
    6: "YXDOMAIN",
    7: "YXRRSET",
    8: "NXRRSET",
    9: "NOTAUTH",
    10: "NOTZONE",
    11: "DSOTYPENI",
    16: "BADVERS",
    17: "BADKEY",
    18: "BADTIME",
    19: "BADMODE",
    20: "BADNAME",
    21: "BADALG",
    22: "BADTRUNC",
    23: "BADCOOKIE",
}

_NAMES = """
1 A NS MD MF CNAME SOA MB MG MR NULL WKS PTR HINFO MINFO MX TXT RP AFSDB X25 ISDN RT NSAP NSAP-PTR SIG KEY PX GPOS AAAA
29 LOC NXT EID NIMLOC SRV ATMA NAPTR KX CERT A6 DNAME SINK OPT APL DS SSHFP IPSECKEY RRSIG NSEC DNSKEY DHCID NSEC3
51 NSEC3PARAM TLSA SMIMEA 55 HIP NINFO RKEY TALINK CDS CDNSKEY OPENPGPKEY CSYNC ZONEMD SVCB HTTPS DSYNC HHIT BRID
99 SPF UINFO UID GID UNSPEC NID L32 L64 LP EUI48 EUI64 128 NXNAME 249 TKEY TSIG IXFR AXFR MAILB MAILA ANY
256 URI CAA AVC DOA AMTRELAY RESINFO WALLET CLA IPN 32768 TA DLV 65281 WINS WINS-R
"""
"""A number begins a run; the next names have the next numbers."""


def _types() -> dict[int, str]:
    types: dict[int, str] = {}
    number = 0
    for word in _NAMES.split():
        if word.isdigit():
            number = int(word)
        else:
            types[number] = word
            number += 1
    return types


TYPES = _types()
"""Record type to name."""


def type_name(kind: int) -> str:
    """Name a record type; what has no name is written as RFC 3597 section 5 does."""
    return TYPES.get(kind) or f"TYPE{kind}"
