"""Where a delivery may go: targets that the operator has named, and addresses that lie in the open internet.

A URL is read by one strict grammar, so that there is no second opinion about its host. A host name is looked up for each connection and
every address that it has must be public; an address of a private network is a target only where the operator wrote that very address.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ecovisor.model.errors import Refused, SettingRefused

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_PORTS = {"https": 443, "http": 80}
_URL = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<rest>(?:/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*)?(?:\?[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?)"
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class Target:
    """Scheme, host and port."""

    scheme: str
    host: str
    """A name in lower case, or an address."""
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == _PORTS[self.scheme] else f":{self.port}")

    @property
    def address(self) -> Address | None:
        """The host as an address; None where it is a name."""
        return _address(self.host)


def target_of(url: str) -> Target:
    """Where a URL leads to. Raises `SettingRefused` for what is no URL to send to."""
    found = _URL.fullmatch(url)
    if found is None:
        raise SettingRefused(f"url: {_short(url)} is no target; write https://host[:port]/path, without user name or fragment")
    host = found["host"].strip("[]").lower()
    port = int(found["port"]) if found["port"] else _PORTS[found["scheme"]]
    address = _address(host)
    if address is None and (found["host"].startswith("[") or host.rsplit(".", 1)[-1].isdigit() or ".." in host):
        raise SettingRefused(f"url: {host!r} is neither a name nor an address")
    if not 0 < port < 65536:
        raise SettingRefused(f"url: port {port} is not between 1 and 65535")
    if found["scheme"] == "http" and (address is None or not address.is_loopback):
        raise SettingRefused(
            f"url: {_short(url)} has no TLS; write https://, or http:// and an address of this machine such as 127.0.0.1"
        )
    return Target(found["scheme"], host if address is None else str(address), port)


def address_of(url: str) -> str:
    """A URL with its target written in one way, so that a client reads what was checked. Raises `SettingRefused`."""
    target, found = target_of(url), _URL.fullmatch(url)
    return f"{target}{found['rest'] if found is not None else ''}"


def allowed_target(line: str) -> Target:
    """The target of a line of `webhook_allow`.

    Raises:
        SettingRefused: it is none, or has a path.
    """
    try:
        target = target_of(line)
    except SettingRefused as error:
        raise SettingRefused(str(error).replace("url:", "webhook_allow:", 1)) from None
    rest = _URL.fullmatch(line)
    if rest is not None and rest["rest"]:
        raise SettingRefused(f"webhook_allow: {_short(line)} has a path; write {target}")
    if target.scheme == "http" and rest is not None and rest["port"] is None:
        raise SettingRefused(f"webhook_allow: {_short(line)} names no port; write {target}:PORT")
    return target


def check_target(app: str, url: str, allowed: Sequence[str]) -> Target:
    """Where a callback of an app leads to.

    Raises:
        SettingRefused: the URL is none.
        Refused: the operator does not allow it; the message has the line to add.
    """
    target = target_of(url)
    if target in {allowed_target(line) for line in allowed}:
        return target
    lines = json.dumps([*allowed, str(target)], ensure_ascii=False)
    raise Refused(
        f"{target} is not among the targets that the operator allows app {app!r}; "
        f"to allow it, write in the site file, under [[apps]] with name = {json.dumps(app)}:  webhook_allow = {lines}"
    )


def is_public(address: Address) -> bool:
    """Whether an address lies in the open internet, the one that it may carry inside included."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
    return address.is_global and not address.is_multicast


def _address(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _short(text: str) -> str:
    return repr(text if len(text) <= 100 else text[:100] + "…")
