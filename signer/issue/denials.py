"""What the pipeline asks of the operator's deny list."""

from typing import Protocol

from signer.core.csr_rules import CheckedCsr
from signer.core.errors import PolicyDenied
from signer.core.types import Caller, Grant


class Denials(Protocol):
    """Says who is denied, from memory: a few look-ups. Never raises, never blocks."""

    def caller_fault(self, caller: Caller) -> str | None:
        """Say, for operators only, why a proven caller is denied; None if it is not."""
        ...

    def order_fault(self, grant: Grant, csr: CheckedCsr) -> str | None:
        """Say why the granted identity or the CSR's key is denied; None if neither is."""
        ...

    def issued(self, grant: Grant, csr: CheckedCsr, serial: int) -> None:
        """Note a certificate that is handed out."""
        ...


class NoDenials:
    """Denies nobody, for who has no such list."""

    def caller_fault(self, caller: Caller) -> str | None:
        """Never."""

    def order_fault(self, grant: Grant, csr: CheckedCsr) -> str | None:
        """Never."""

    def issued(self, grant: Grant, csr: CheckedCsr, serial: int) -> None:
        """Drop it."""


def refuse(fault: str | None) -> None:
    """End a request that is denied.

    Raises:
        PolicyDenied: There is a fault.
    """
    if fault is not None:
        raise PolicyDenied(fault)
