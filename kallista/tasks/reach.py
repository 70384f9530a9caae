"""Which addresses a request may go to: all public ones, and those that the operator has named.

Who writes a definition is not who runs the workers: a task must not reach into the network that
its worker stands in (a database, a router, a cloud's metadata) because somebody wrote its URL, or
because a name of somebody's own resolves to it. So a name is resolved here, once, and what is
connected to is the very address that was looked at.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final, TypeAlias

from kallista.errors import KallistaError

Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""Gives the addresses of a host name, as texts, the best first; ``OSError``: it has none."""

_CLOSED: Final = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8", "192.0.0.0/24", "192.88.99.0/24", "240.0.0.0/4",
            "::/96", "64:ff9b:1::/48", "fec0::/10", "3fff::/20", "5f00::/16",
        ),
    )
)  # fmt: skip
"""What the standard library of some Python calls global although nothing public stands there."""

_TRANSLATED: Final = IPv6Network("64:ff9b::/96")
"""Addresses of IPv4 as networks without IPv4 write them; the last 32 bits are the address."""


class AddressRefusedError(KallistaError):
    """A request would have gone to an address that tasks may not reach."""


async def resolved(host: str, port: int) -> Sequence[str]:
    """The addresses that the system knows for a host.

    Args:
        host: A name or an address, in any form that the system reads.
        port: The port that is to be connected to.

    Raises:
        OSError: It knows none.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Reach:
    """The addresses that requests of this program may go to.

    Args:
        allowed: Networks that are open besides the public ones, like ``10.1.0.0/16``.
        resolve: Gives the addresses of a name.
    """

    def __init__(self, allowed: Sequence[str] = (), resolve: Resolve = resolved) -> None:
        self._allowed = tuple(map(ip_network, allowed))
        self._resolve = resolve

    async def addresses(self, host: str, port: int) -> Sequence[str]:
        """The addresses of a host that may be connected to, resolved anew.

        Args:
            host: A name or an address.
            port: The port.

        Returns:
            Texts of addresses, which mean the same to everybody; at least one.

        Raises:
            AddressRefusedError: It has none that may be reached; the message says what to do.
            OSError: It has none at all.
        """
        found = [_plain(text) for text in await self._resolve(host, port)]
        open = [str(address) for address in found if self.is_open(address)]
        if open:
            return open
        if not found:
            raise OSError(f"{host!r} has no address")
        where = ", ".join(map(str, found))
        raise AddressRefusedError(
            f"{host!r} is at {where}, which is no public address; if tasks may reach it, whoever"
            f" runs the workers has to say so: http_allow = [{str(ip_network(found[0]))!r}]"
        )

    def is_open(self, address: IPv4Address | IPv6Address) -> bool:
        """Whether an address may be connected to."""
        if any(_within(address, network) for network in self._allowed):
            return True
        carried = _carried(address)
        if carried is not None:
            return self.is_open(carried)
        return is_public(address)


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address is one machine of the public internet.

    Args:
        address: No IPv4 address in the clothes of an IPv6 one: those are looked at apart.
    """
    if any(_within(address, network) for network in _CLOSED):
        return False
    return address.is_global and not address.is_multicast


def _plain(text: str) -> IPv4Address | IPv6Address:
    """An address of a resolver; an IPv4 one that is written as IPv6 becomes itself again."""
    address = ip_address(text)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _carried(address: IPv4Address | IPv6Address) -> IPv4Address | None:
    """The IPv4 address that packets to an IPv6 one end at, by one of the ways across."""
    if isinstance(address, IPv4Address):
        return None
    if address in _TRANSLATED:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    if address.teredo is not None:
        return address.teredo[1]
    return address.ipv4_mapped or address.sixtofour


def _within(address: IPv4Address | IPv6Address, network: IPv4Network | IPv6Network) -> bool:
    return address.version == network.version and address in network
