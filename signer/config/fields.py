"""What the configuration's values may be: durations with units, addresses, shares."""

import re
from datetime import timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field

from signer.config.durations import parse_duration
from signer.core.identity import TrustDomain

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


_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
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


_KUBE_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")


def _label(text: str) -> str:
    if not re.fullmatch(_LABEL, text):
        raise ValueError(f"write a name in lower case, such as istio-system; this is {text!a:.80}")
    return text


def _kube_name(text: str) -> str:
    if len(text) > 253 or not _KUBE_NAME.fullmatch(text):
        raise ValueError(f"write a name in lower case, such as istiod-tls; this is {text!a:.80}")
    return text


def _revision(text: str) -> str:
    # Its Service is istiod-REVISION, and that is a label too.
    if len(text) > 56:
        raise ValueError(f"a revision has 56 characters at most; this is {text!a:.80}")
    return _label(text)


Fingerprint: TypeAlias = Annotated[str, AfterValidator(_fingerprint)]
DnsName: TypeAlias = Annotated[str, AfterValidator(_dns_name)]
KubeLabel: TypeAlias = Annotated[str, AfterValidator(_label)]
KubeName: TypeAlias = Annotated[str, AfterValidator(_kube_name)]
Revision: TypeAlias = Annotated[str, AfterValidator(_revision)]
Address: TypeAlias = Annotated[str, AfterValidator(_address)]
Ratio: TypeAlias = Annotated[float, Field(ge=0.0, lt=1.0)]
IpAddresses: TypeAlias = Annotated[list[IPv4Address | IPv6Address], BeforeValidator(_ip_addresses)]
CacheDuration: TypeAlias = Annotated[Duration, AfterValidator(_at_most_10s)]
TrustDomainName: TypeAlias = Annotated[str, AfterValidator(lambda text: TrustDomain.configured(text).name)]
