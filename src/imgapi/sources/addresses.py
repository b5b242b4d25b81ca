"""Says which IP addresses a caller's URL may lead to; pure, no look-up happens here.

The question is «is this an address anyone on the public internet can reach?», answered by a list of what *is*
reachable. `ipaddress.is_private` answers another question: 100.100.100.200, the metadata service of the machines
imgapi is most likely to run on, is «not private» to it. Sources: the IANA IPv4 and IPv6 special-purpose address
registries (RFC 6890 and its updates), RFC 5214 for ISATAP.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address

_REFUSED_IPV4 = tuple(
    IPv4Network(block)
    for block in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private use
        "100.64.0.0/10",  # carrier-grade NAT; holds 100.100.100.200, Alibaba Cloud's metadata service
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # Azure's host services; in no registry, reachable from every machine there
        "169.254.0.0/16",  # link local; holds 169.254.169.254, everyone else's metadata service
        "172.16.0.0/12",  # private use
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # automatic multicast tunnelling
        "192.88.99.0/24",  # former 6to4 relays
        "192.168.0.0/16",  # private use
        "192.175.48.0/24",  # AS112, direct delegation
        "198.18.0.0/15",  # benchmarking
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # class E, with the limited broadcast address
    )
)

_GLOBAL_UNICAST_IPV6 = IPv6Network("2000::/3")

_REFUSED_IPV6 = tuple(
    IPv6Network(block)
    for block in (
        "2001::/23",  # protocol assignments; holds Teredo (2001::/32), which carries an IPv4 address
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, which carries an IPv4 address
        "3fff::/20",  # documentation
    )
)

# RFC 5214: these in bits 64-95 mean that the last 32 bits are an IPv4 address, often one of a private network.
_ISATAP_IDENTIFIERS = frozenset({0x0000_5EFE, 0x0200_5EFE})


def is_reachable(address: Address) -> bool:
    """Tell whether anyone on the public internet could reach this address.

    IPv6 forms that carry an IPv4 address (mapped, compatible, NAT64, 6to4, Teredo, ISATAP) are never reachable:
    what they carry may be inside, and a public IPv4 host can be named by its own address.
    """
    if isinstance(address, IPv4Address):
        return not any(address in block for block in _REFUSED_IPV4)
    if address.scope_id is not None or address not in _GLOBAL_UNICAST_IPV6:
        return False
    if any(address in block for block in _REFUSED_IPV6):
        return False
    return (int(address) >> 32) & 0xFFFF_FFFF not in _ISATAP_IDENTIFIERS
