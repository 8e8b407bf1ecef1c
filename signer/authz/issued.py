"""Which key each serial was issued for: what makes a denied serial deny anybody who comes with a token."""

from collections.abc import Iterable
from dataclasses import dataclass

from signer.core.recent import Recent

MAX_REMEMBERED = 100_000


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate that was handed out: whose it is, and ``signer.core.deny.key_digest`` of its key."""

    identity: str
    key: str


class IssuedKeys:
    """Remembers certificates by serial; the oldest are forgotten first, those that are denied never.

    Args:
        size: How many are remembered; denied ones are kept beside them, and are as many as the deny list's serials.
    """

    def __init__(self, size: int = MAX_REMEMBERED) -> None:
        self._issued: Recent[int, Issued] = Recent(size)
        self._denied: dict[int, Issued | None] = {}
        self._serials: dict[str, list[int]] = {}

    def remember(self, serial: int, issued: Issued) -> None:
        """Note a certificate; one that is handed out again counts as new."""
        self._issued.put(serial, issued)
        if serial in self._denied and self._denied[serial] != issued:
            self._denied[serial] = issued
            self._index()

    def deny(self, serials: Iterable[int]) -> int:
        """Take these serials for denied, and no others; tell how many of them are not known."""
        self._denied = {serial: self._denied.get(serial) or self._issued.get(serial) for serial in serials}
        self._index()
        return sum(issued is None for issued in self._denied.values())

    def _index(self) -> None:
        self._serials = {}
        for serial, issued in self._denied.items():
            if issued is not None:
                self._serials.setdefault(issued.key, []).append(serial)

    @property
    def any_denied(self) -> bool:
        """Whether there is a key to look for."""
        return bool(self._serials)

    def denied_with(self, key: str) -> list[tuple[int, Issued]]:
        """Every denied certificate of a key."""
        found = ((serial, self._denied[serial]) for serial in self._serials.get(key, ()))
        return [(serial, issued) for serial, issued in found if issued is not None]
