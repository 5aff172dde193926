"""Which addresses a webhook may reach: public ones, and what an admin names in ``Settings.webhook_hosts``."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Iterable

_UNICAST = ipaddress.ip_network("2000::/3")  # so neither mapped, embedded nor translated IPv4 addresses
_METADATA = frozenset({ipaddress.ip_address("168.63.129.16")})  # Azure's, at an address that looks public


def is_public(text: str) -> bool:
    """Whether an IP address is neither loopback, private, link-local (cloud metadata), shared, multicast nor reserved, in
    whatever form it is written. Raises ValueError for what is no address."""
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address):
        return address in _UNICAST and address.is_global and address.sixtofour is None
    return address.is_global and not address.is_multicast and address not in _METADATA


def internal(host: str, addresses: Iterable[str], allowed: str) -> str | None:
    """The first of a host's addresses that may not be reached; None where all may. ``allowed``: Settings.webhook_hosts."""
    words = allowed.lower().split()
    if "*" in words or host.lower().rstrip(".") in words:
        return None
    networks = []
    for word in words:
        with contextlib.suppress(ValueError):  # a name
            networks.append(ipaddress.ip_network(word, strict=False))
    for text in addresses:
        if not is_public(text) and not any(ipaddress.ip_address(text) in network for network in networks):
            return text
    return None
