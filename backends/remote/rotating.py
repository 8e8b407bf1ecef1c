"""Roots in a rotation: those that an issuer's certificates lead to, and those of files."""

from collections.abc import Sequence
from pathlib import Path

from cryptography import x509

from backends.held.ca import issued
from backends.remote.authorities import describe
from backends.remote.roots import UnusableRoots, read_roots
from signer.core.anchors import anchor_fault
from signer.core.chain import fingerprint
from signer.core.rotation import Rotation
from signer.core.rotator import RotationRefused
from signer.core.spec import BackendContext

Roots = tuple[x509.Certificate, ...]


def roots_above(certificates: Sequence[x509.Certificate], believed: Roots = ()) -> Roots:
    """Give the roots that an issuer leads to.

    Args:
        certificates: The issuer's own first, then what is known above it.
        believed: The only roots that count; those among the certificates where there are none.
    """
    found = describe(certificates, None, believed)
    return tuple(root for root in believed or found.roots if found.chain and issued(found.chain[-1], root))


def file_roots(path: Path | None) -> Roots:
    """Read a file of roots; none where there is no file.

    Raises:
        RotationRefused: It holds none.
    """
    try:
        return read_roots(path) if path is not None else ()
    except UnusableRoots as error:
        raise RotationRefused(str(error)) from None


def believed_roots(path: Path | None, context: BackendContext) -> Roots:
    """Read the backend's ``roots_file``, as its replicas do; none where it has none.

    Raises:
        RotationRefused: It cannot be read here.
    """
    try:
        return file_roots(path)
    except RotationRefused as error:
        raise RotationRefused(
            f"{error}. It is backends.{context.name}.roots_file and decides whom the signer believes: run this where "
            "the signer has it, or put a copy there"
        ) from None


def old_roots(certificates: Sequence[x509.Certificate], believed: Roots) -> Roots:
    """Give the roots that an issuer in use is under; none where nothing tells."""
    return roots_above(certificates, believed) or roots_above(certificates) if certificates else believed


def new_root(
    certificates: Sequence[x509.Certificate], path: Path | None, issuer: str, context: BackendContext
) -> x509.Certificate:
    """Give the root of the issuer that comes.

    Args:
        certificates: The issuer's, where the CA shows them.
        path: The operator's ``--root``.
        issuer: For messages.
        context: The backend's.

    Raises:
        RotationRefused: There is none, or not this one, or nobody could trust it.
    """
    given = file_roots(path)
    found = given or roots_above(certificates)
    if len(found) != 1:
        raise RotationRefused(f"{issuer} leads to {len(found)} roots: name a file with its one root with --root")
    if certificates and not roots_above(certificates, found):
        raise RotationRefused(f"{issuer} is not under the root {_name(found[0])} of {path}: nobody would trust it")
    fault = anchor_fault(found[0], context.clock.now())
    if fault is not None:
        raise RotationRefused(f"{issuer}: its root {_name(found[0])} cannot be trusted: {fault}")
    return found[0]


def check_before_switch(path: Path | None, context: BackendContext, rotation: Rotation) -> None:
    """Make sure that a backend that believes its file alone will believe the new issuer.

    Raises:
        RotationRefused: It would not.
    """
    believed, new = believed_roots(path, context), rotation.new
    if believed and new is not None and new not in believed:
        raise RotationRefused(
            f"{path}: lacks the new root {_name(new)}: add it on all replicas, for the signer believes no others"
            f" (backends.{context.name}.roots_file), then advance"
        )


def check_before_retirement(path: Path | None, context: BackendContext, rotation: Rotation) -> None:
    """Make sure that nothing vouches for an old root any more.

    Raises:
        RotationRefused: The file would keep it.
    """
    check_before_switch(path, context, rotation)
    kept = [root for root in believed_roots(path, context) if root in rotation.old and root != rotation.new]
    if kept:
        raise RotationRefused(f"{path}: still holds the old root {_name(kept[0])}: take it out, then advance")


def _name(root: x509.Certificate) -> str:
    return f"{root.subject.rfc4514_string()} ({fingerprint(root)[:16]})"
