"""Decide which addresses a page may be fetched from: global unicast, and nothing that leads inside by another name.

IPv6 is an allow list, the one block in which global unicast addresses are assigned, less the special blocks in it: addresses that embed
an IPv4 address (NAT64, mapped, compatible, 6to4, Teredo) could reach an inside host through a gateway, and no page of the web needs them.
The lists are those of IANA's registries of special-purpose addresses (RFC 6890 and its successors); Python's own differ by version.
"""

import ipaddress
from typing import Final

_NOT_GLOBAL_4: Final = tuple(
    ipaddress.IPv4Network(block)
    for block in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24"),
        *("192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15"),
        *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
    )
)
_GLOBAL_6: Final = ipaddress.IPv6Network("2000::/3")
_NOT_GLOBAL_6: Final = tuple(
    ipaddress.IPv6Network(block) for block in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3ffe::/16", "3fff::/20")
)


def is_public(address: str) -> bool:
    """Return whether a numeric address is global unicast. One with a zone is not, and neither is text that is no address."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv4Address):
        return not any(ip in block for block in _NOT_GLOBAL_4)
    return ip.scope_id is None and ip in _GLOBAL_6 and not any(ip in block for block in _NOT_GLOBAL_6)
