"""What the configuration's values may be: durations with units, addresses, shares."""

import re
from datetime import timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field

from signer.config.durations import parse_duration

Duration: TypeAlias = Annotated[timedelta, BeforeValidator(parse_duration)]


def _positive(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError("must be longer than zero")
    return value


def _at_most_10s(value: timedelta) -> timedelta:
    if value > timedelta(seconds=10):
        raise ValueError("must be 10s at most: so much longer does a deleted pod's token live")
    return value


PositiveDuration: TypeAlias = Annotated[Duration, AfterValidator(_positive)]


def _address(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not (port.isascii() and port.isdecimal()) or int(port) > 65535:
        raise ValueError(f"write an address as host:port, such as 0.0.0.0:15012; this is {text!r:.60}")
    return text


def _ip_addresses(value: object) -> object:
    """The library would complain once for each version of the protocol."""
    for item in value if isinstance(value, list) else ():
        try:
            ip_address(item if isinstance(item, str | IPv4Address | IPv6Address) else "")
        except ValueError:
            raise ValueError(f"write IP addresses, such as [10.0.0.1]; there is {item!r:.60}") from None
    return value


_DNS_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_DNS_NAME = re.compile(rf"(?:\*\.)?{_DNS_LABEL}(?:\.{_DNS_LABEL})*")


def _dns_name(text: str) -> str:
    if len(text) > 253 or not _DNS_NAME.fullmatch(text):
        raise ValueError(f"write DNS names in ASCII, such as istio-signer.istio-system.svc; this is {text!a:.80}")
    return text


def _fingerprint(text: str) -> str:
    plain = text.removeprefix("sha256:").replace(":", "").lower()
    if not re.fullmatch(r"[0-9a-f]{64}", plain):
        raise ValueError(f"write a certificate's SHA-256 as 64 hexadecimal digits; this is {text!a:.80}")
    return plain


def _kube_name(text: str) -> str:
    if len(text) > 253 or not re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", text):
        raise ValueError(f"write the name of a Kubernetes object, such as istio-signer; this is {text!a:.80}")
    return text


Fingerprint: TypeAlias = Annotated[str, AfterValidator(_fingerprint)]
KubeName: TypeAlias = Annotated[str, AfterValidator(_kube_name)]
DnsName: TypeAlias = Annotated[str, AfterValidator(_dns_name)]
Address: TypeAlias = Annotated[str, AfterValidator(_address)]
Ratio: TypeAlias = Annotated[float, Field(ge=0.0, lt=1.0)]
IpAddresses: TypeAlias = Annotated[list[IPv4Address | IPv6Address], BeforeValidator(_ip_addresses)]
CacheDuration: TypeAlias = Annotated[Duration, AfterValidator(_at_most_10s)]
