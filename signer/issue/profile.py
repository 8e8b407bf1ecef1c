"""What a route says of the certificates that it leads to."""

from dataclasses import dataclass

from signer.core.validity import ValidityPolicy


@dataclass(frozen=True, slots=True)
class Profile:
    """The settings of one route, merged over the defaults.

    Attributes:
        validity: Lifetimes.
        key_types: Names of the key types that may be certified, as ``signer.core.keys.describe`` spells their family
            (``RSA``, ``P-256``, ``P-384``).
    """

    validity: ValidityPolicy
    key_types: frozenset[str] = frozenset({"RSA", "P-256", "P-384"})

    def key_fault(self, key: str) -> str | None:
        """Say why a key, named as ``describe`` does, is not for this profile; None if it is."""
        family = "RSA" if key.startswith("RSA-") else key
        if family in self.key_types:
            return None
        return f"the key is {key}; this route allows {', '.join(sorted(self.key_types))}"
