"""What to do about istiod's Secret as it is now: the table ``REASONS`` and the verdict. Pure."""

from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from cryptography import x509

from signer.core import keys
from signer.core.chain import TrustBundle
from signer.core.errors import ChainRejected
from signer.core.parsing import UNPARSABLE, parse_certificates
from signer.core.types import IssuedChain, ServerNames
from signer.core.validity import renew_at
from signer.core.verify import prove_path
from signer.core.verify_leaf import expected_names
from signer.trust.istiod.secret import CERTIFICATE, KEY, MANAGED_BY, OURSELVES, ROOTS, Manifest, is_ours


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the Secret must hold.

    Attributes:
        names: Of the certificate, exactly.
        grace_ratio: The part of the lifetime left at which to renew.
        key_type: ``P-256`` or ``RSA-2048``, as ``signer.core.keys.describe`` says it.
        adopt: Whether a Secret that somebody else made is taken over.
    """

    names: ServerNames
    grace_ratio: float
    key_type: str = "P-256"
    adopt: bool = False


class Act(Enum):
    """What to do."""

    KEEP = "keep"
    """Nothing until it is due."""
    UPDATE = "update"
    """Write the roots and the label; the certificate stays."""
    ISSUE = "issue"
    """Write a new certificate."""
    LEAVE = "leave"
    """Nothing: it is somebody else's."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do and why.

    Attributes:
        due: When the certificate is to be renewed; None where it is of no use.
        end: When it ends; None where it is of no use.
    """

    act: Act
    why: str = ""
    due: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Held:
    """What is in a Secret, read."""

    chain: IssuedChain
    key: keys.CaPrivateKey


def judge(secret: Manifest | None, wanted: Wanted, bundle: TrustBundle, now: datetime) -> Verdict:
    """Judge the Secret as the API server has it.

    Args:
        secret: None where there is none.
        wanted: What it must hold.
        bundle: The roots of now; not empty, for nothing is under those.
        now: The time, UTC.
    """
    if secret is None:
        return Verdict(Act.ISSUE, "there is none")
    if not is_ours(secret) and not wanted.adopt:
        return Verdict(Act.LEAVE, f"it has no label {MANAGED_BY}={OURSELVES}, so it is somebody else's")
    try:
        held = _read(secret)
        fault = _fault(held, wanted, bundle, now)
    except UNPARSABLE as error:
        # Only our own texts are shown: a parser's may quote what it could not read.
        return Verdict(Act.ISSUE, str(error) if type(error) is Unreadable else "its certificate cannot be parsed")
    if fault is not None:
        return Verdict(Act.ISSUE, fault)
    return _in_time(held.chain.leaf, secret, wanted, bundle, now)


def _in_time(leaf: x509.Certificate, secret: Manifest, wanted: Wanted, bundle: TrustBundle, now: datetime) -> Verdict:
    """Judge a certificate that is good now."""
    end = leaf.not_valid_after_utc
    # Without chance: all replicas must find the same moment in the same certificate.
    due = renew_at((leaf.not_valid_before_utc, end), wanted.grace_ratio)
    if now >= due:
        return Verdict(Act.ISSUE, f"it was due for renewal at {due.isoformat()}", due, end)
    if _roots(secret) != bundle.pem.encode("ascii"):
        return Verdict(Act.UPDATE, f"{ROOTS} is not the trust bundle of now", due, end)
    if not is_ours(secret):
        return Verdict(Act.UPDATE, "it is taken over: it lacks our label", due, end)
    return Verdict(Act.KEEP, "", due, end)


class Unreadable(ValueError):
    """A Secret whose contents are of no use; the message says why and quotes none of it."""


def _read(secret: Manifest) -> _Held:
    try:
        leaf, *issuers = parse_certificates(_bytes(secret, CERTIFICATE))
    except ValueError:
        raise Unreadable(f"{CERTIFICATE} holds no PEM certificate, or a broken one") from None
    try:
        key = keys.load_private_key(_bytes(secret, KEY))
    except ValueError as error:
        raise Unreadable(f"{KEY}: {error}") from None
    return _Held(IssuedChain(leaf, tuple(issuers)), key)


def _bytes(secret: Manifest, key: str) -> bytes:
    return b64decode((secret.get("data") or {}).get(key) or "", validate=True)


def _roots(secret: Manifest) -> bytes | None:
    try:
        return _bytes(secret, ROOTS)
    except ValueError:
        return None


def _key_fault(held: _Held, _: Wanted, __: TrustBundle, ___: datetime) -> str | None:
    if held.key.public_key() == held.chain.leaf.public_key():
        return None
    return f"{KEY} is not the key of {CERTIFICATE}"


def _key_type_fault(held: _Held, wanted: Wanted, _: TrustBundle, __: datetime) -> str | None:
    kind = keys.describe(held.key.public_key())
    return None if kind == wanted.key_type else f"its key is {kind}, configured is {wanted.key_type}"


def _names_fault(held: _Held, wanted: Wanted, _: TrustBundle, __: datetime) -> str | None:
    """One name more is a fault too: a revision that is gone."""
    extensions = held.chain.leaf.extensions
    try:
        found = list(extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        found = []
    if set(found) == set(expected_names(wanted.names)):
        return None
    return f"it names {', '.join(ascii(str(n.value)[:100]) for n in found) or 'nobody'} instead of {wanted.names}"


def _end_fault(held: _Held, _: Wanted, __: TrustBundle, now: datetime) -> str | None:
    end = held.chain.leaf.not_valid_after_utc
    return f"it ended at {end.isoformat()}" if now >= end else None


def _path_fault(held: _Held, _: Wanted, bundle: TrustBundle, now: datetime) -> str | None:
    try:
        prove_path(held.chain, bundle, now)
    except ChainRejected as error:
        return f"it is not under the trust bundle of now: {error.reason}"
    return None


REASONS: dict[str, Callable[[_Held, Wanted, TrustBundle, datetime], str | None]] = {
    "key": _key_fault,
    "key-type": _key_type_fault,
    "names": _names_fault,
    "end": _end_fault,
    "path": _path_fault,
}


def _fault(held: _Held, wanted: Wanted, bundle: TrustBundle, now: datetime) -> str | None:
    """Say why a certificate is of no use now, or None if it is."""
    return next((fault for reason in REASONS.values() if (fault := reason(held, wanted, bundle, now))), None)
