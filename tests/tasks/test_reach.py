"""Where requests of tasks may go."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address

import pytest
from http_servers import Names
from hypothesis import given
from hypothesis import strategies as st

from kallista.tasks.reach import AddressRefusedError, Reach, resolved

REFUSED = [
    "10.0.0.1", "172.16.0.1", "192.168.1.1",  # private
    "127.0.0.1", "127.8.8.8", "::1",  # this machine
    "169.254.169.254", "fe80::1", "fe80::1%1",  # the link, where clouds keep their metadata
    "224.0.0.1", "239.1.1.1", "ff02::1",  # many at once
    "0.0.0.0", "0.1.2.3", "::",  # nobody, which some systems read as this machine
    "100.64.0.1", "198.18.0.1", "192.0.0.8", "192.0.2.1", "240.0.0.1", "255.255.255.255",
    "fc00::1", "fd12::1", "fec0::1", "2001:db8::1", "64:ff9b:1::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::1",
    "::ffff:169.254.169.254", "64:ff9b::7f00:1",
]  # fmt: skip
OPEN = ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]


def reached(*addresses: str, allowed: tuple[str, ...] = ()) -> list[str]:
    """The addresses of a name that may be connected to."""
    reach = Reach(allowed, Names({"name.test": [addresses]}))
    return list(asyncio.run(reach.addresses("name.test", 80)))


@pytest.mark.parametrize("address", REFUSED)
def test_what_is_not_public_is_refused(address: str) -> None:
    """No name and no spelling leads a task into the network that its worker stands in."""
    with pytest.raises(AddressRefusedError, match="http_allow"):
        reached(address)


@pytest.mark.parametrize("address", OPEN)
def test_what_is_public_is_open(address: str) -> None:
    """The internet needs no permission."""
    assert len(reached(address)) == 1


def test_an_operator_opens_networks() -> None:
    """What the operator names is open, however its address is written, and nothing beside it."""
    allowed = ("10.1.0.0/16", "fd00::/64")
    assert reached("10.1.2.3", "::ffff:10.1.2.3", "fd00::9", allowed=allowed) == [
        "10.1.2.3",
        "10.1.2.3",
        "fd00::9",
    ]
    for closed in ("10.2.0.1", "fd00:0:0:1::1", "127.0.0.1"):
        with pytest.raises(AddressRefusedError):
            reached(closed, allowed=allowed)


def test_of_many_addresses_only_open_ones_are_left() -> None:
    """A name that has public and private addresses is asked at its public ones alone."""
    assert reached("10.0.0.1", "8.8.8.8", "::1") == ["8.8.8.8"]


def test_the_message_says_what_to_write() -> None:
    """Who runs the workers can copy the setting out of the message."""
    with pytest.raises(AddressRefusedError, match=r"http_allow = \['10\.0\.0\.1/32'\]"):
        reached("10.0.0.1")


@given(st.ip_addresses(v=4))
def test_an_address_in_other_clothes_is_the_same(address: object) -> None:
    """An IPv4 address is open in IPv6 spelling just when it is in its own."""
    reach = Reach()
    number = int(ip_address(str(address)))
    for base in ("::ffff:0:0", "64:ff9b::"):
        written = ip_address(int(ip_address(base)) + number)
        assert reach.is_open(written) == reach.is_open(ip_address(str(address)))


@pytest.mark.parametrize("host", ["localhost", "127.1", "2130706433", "0x7f000001", "::1"])
def test_the_system_reads_all_spellings(host: str) -> None:
    """Whatever the system would connect to is what is looked at, however a URL spells it."""
    try:
        found = asyncio.run(resolved(host, 80))
    except OSError:
        pytest.skip("this system does not read it, so nobody is reached by it")
    assert all(ip_address(address).is_loopback for address in found)
