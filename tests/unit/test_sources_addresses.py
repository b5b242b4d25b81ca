"""What counts as reachable, against the IANA special-purpose registries."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgapi.sources.addresses import is_reachable

# The IANA IPv4 special-purpose address registry, with multicast and one address that clouds give a meaning.
SPECIAL_IPV4 = [
    IPv4Network(text)
    for text in [
        "0.0.0.0/8",
        "0.0.0.0/32",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.0.0/29",
        "192.0.0.8/32",
        "192.0.0.9/32",
        "192.0.0.10/32",
        "192.0.0.170/32",
        "192.0.0.171/32",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "255.255.255.255/32",
        "168.63.129.16/32",
    ]
]
# The same for IPv6, without 2620:4f:8000::/48, which is globally reachable.
SPECIAL_IPV6 = [
    IPv6Network(text)
    for text in [
        "::1/128",
        "::/128",
        "::ffff:0:0/96",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "100::/64",
        "100:0:0:1::/64",
        "2001::/23",
        "2001::/32",
        "2001:1::1/128",
        "2001:1::2/128",
        "2001:1::3/128",
        "2001:2::/48",
        "2001:3::/32",
        "2001:4:112::/48",
        "2001:10::/28",
        "2001:20::/28",
        "2001:30::/28",
        "2001:db8::/32",
        "2002::/16",
        "3fff::/20",
        "5f00::/16",
        "fc00::/7",
        "fe80::/10",
        "ff00::/8",
    ]
]


def inside(network: IPv4Network | IPv6Network) -> st.SearchStrategy[IPv4Address | IPv6Address]:
    """Draw an address of the block, its edges included."""
    low, high = int(network.network_address), int(network.broadcast_address)
    kind = IPv4Address if network.version == 4 else IPv6Address
    return st.integers(low, high).map(kind)


@given(st.ip_addresses(v=4))
def test_ipv4_is_reachable_exactly_outside_the_registry(address: IPv4Address) -> None:
    """An IPv4 address is reachable if and only if no block of the registry holds it."""
    assert is_reachable(address) is not any(address in network for network in SPECIAL_IPV4)


@given(st.sampled_from(SPECIAL_IPV4 + SPECIAL_IPV6).flatmap(inside))
def test_every_address_of_a_special_block_is_refused(address: IPv4Address | IPv6Address) -> None:
    """No address of a special-purpose block is reachable, wherever in the block it lies."""
    assert not is_reachable(address)


@pytest.mark.parametrize("network", SPECIAL_IPV4, ids=str)
def test_a_block_is_refused_to_its_edges_and_no_further(network: IPv4Network) -> None:
    """First and last address of a block are refused; the neighbours are judged by the other blocks alone."""
    assert not is_reachable(network.network_address)
    assert not is_reachable(network.broadcast_address)
    for neighbour in (int(network.network_address) - 1, int(network.broadcast_address) + 1):
        if 0 <= neighbour < 2**32:
            address = IPv4Address(neighbour)
            assert is_reachable(address) is not any(address in other for other in SPECIAL_IPV4)


@given(st.ip_addresses(v=6))
def test_ipv6_outside_global_unicast_is_refused(address: IPv6Address) -> None:
    """An IPv6 address is reachable only inside 2000::/3, outside every special block and without ISATAP."""
    special = any(address in network for network in SPECIAL_IPV6)
    isatap = (int(address) >> 32) & 0xFDFF_FFFF == 0x5EFE
    assert is_reachable(address) is (address in IPv6Network("2000::/3") and not special and not isatap)


@given(inside(IPv6Network("2600::/12")), st.ip_addresses(v=4), st.sampled_from([0x5EFE, 0x0200_5EFE]))
def test_isatap_is_refused_under_any_prefix(prefix: IPv6Address, inner: IPv4Address, identifier: int) -> None:
    """An ISATAP identifier is refused under a public prefix too, for it carries an IPv4 address."""
    address = IPv6Address(int(prefix) >> 64 << 64 | identifier << 32 | int(inner))
    assert not is_reachable(address)


@given(st.ip_addresses(v=4))
def test_an_embedded_ipv4_address_is_no_way_in(inner: IPv4Address) -> None:
    """Mapped, compatible, NAT64, 6to4 and Teredo spellings of any IPv4 address are refused."""
    number = int(inner)
    forms = [
        0xFFFF << 32 | number,
        number,
        0x64FF9B << 96 | number,
        0x2002 << 112 | number << 80,
        0x2001 << 112 | (number ^ 0xFFFF_FFFF),
        0x2001 << 112 | number << 64,
    ]
    assert not any(is_reachable(IPv6Address(form)) for form in forms)


@pytest.mark.parametrize(
    "text", ["8.8.8.8", "93.184.216.34", "100.63.255.255", "100.128.0.0", "168.63.129.17", "2606:4700::1111", "2a00::1"]
)
def test_ordinary_hosts_are_reachable(text: str) -> None:
    """Addresses of ordinary public hosts are reachable."""
    assert is_reachable(ip_address(text))


@pytest.mark.parametrize("text", ["100.100.100.200", "169.254.169.254", "168.63.129.16", "fd00:ec2::254", "fe80::1%1"])
def test_metadata_services_are_refused(text: str) -> None:
    """The addresses at which clouds hand out credentials are refused."""
    assert not is_reachable(ip_address(text))
