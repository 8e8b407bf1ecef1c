"""The CAs that a remote signer was seen to sign with: learnt from its answers, kept while their leaves may live.

A remote CA can be replaced at any moment, and for a while answers of the old and of the new one mix, here and on other
replicas. So a CA's roots stay until the last leaf seen from it has ended.

Every root learnt here ends up in the bundle that the whole mesh trusts, so an answer is believed only as far as its
leaf goes: the leaf must hold the key that was sent, only roots that it climbs to are kept, and no longer than a leaf
may live that was asked for. Pure; the rest of the proof is ``verify``'s.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeAlias

from cryptography import x509

from backends.held.ca import climb, issued
from signer.core.chain import TrustBundle, is_ca, is_self_issued, window
from signer.core.errors import BackendUnavailable
from signer.core.parsing import UNPARSABLE
from signer.core.types import IssuerInfo, SigningRequest
from signer.core.validity import Window
from signer.core.verify_leaf import CLOCK_LEEWAY

MAX_AUTHORITIES = 8
_NEAR_ITS_END = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Authority:
    """One CA, as far as it is known.

    Attributes:
        issuers: All its certificates that are no roots, the leaf's issuer first where it could be told.
        roots: Self-issued ones that the leaf climbs to; all of them where there was no leaf.
        chain: The way from the signing certificate up to, not including, a root; empty while none is known.
        window: The span in which the whole way is valid; None while it is not known.
        signer: The certificate that signs; None where no certificate at hand has signed the leaf.
    """

    issuers: tuple[x509.Certificate, ...]
    roots: tuple[x509.Certificate, ...]
    chain: tuple[x509.Certificate, ...] = ()
    window: Window | None = None
    signer: x509.Certificate | None = None


# The same text may hold several CAs, as a bundle does: each of them that signs is one of its own.
_Key: TypeAlias = tuple[str, x509.Certificate | None]


@dataclass(slots=True)
class _Seen:
    """A CA, and a leaf that it signed: none where the CA was only shown."""

    key: _Key
    authority: Authority
    until: datetime
    leaf: x509.Certificate | None = None


@dataclass(slots=True)
class Authorities:
    """Everything learnt; the last one used is what signs now.

    Attributes:
        pinned: Roots from a file, for signers that do not tell theirs. Where there are some, no others are believed.
            Set later by ``pin``.
    """

    pinned: tuple[x509.Certificate, ...] = ()
    _seen: OrderedDict[_Key, _Seen] = field(default_factory=OrderedDict)
    _shown: str | None = None
    _signed: _Key | None = None
    _signs_as_shown: bool = False

    def learn(
        self,
        text: str,
        parse: Callable[[], Sequence[x509.Certificate]],
        leaf: x509.Certificate | None,
        now: datetime,
        asked: SigningRequest | None = None,
    ) -> tuple[Authority, bool]:
        """Note what came with an answer.

        Args:
            text: The CA certificates as they came: the same text is parsed once.
            parse: Parses them; called where the text is new.
            leaf: What was signed; None where the CA was only asked for its certificates.
            now: The time, UTC.
            asked: What the leaf answers: a leaf of another key tells nothing, and roots are kept no longer than a leaf
                lives that was asked for.

        Returns:
            The CA, and whether the roots or the signing chain have changed. A CA that has not signed the leaf is only
            described: nothing of it is kept.

        Raises:
            BackendError: They cannot be parsed.
            BackendUnavailable: As many CAs as can be remembered have leaves that live.
        """
        if leaf is not None and asked is not None and leaf.public_key() != asked.csr.parsed.key:
            return describe(parse(), leaf, self.pinned), False
        before, seen = self._current(now), self._recalled(text, leaf)
        if seen is None:
            authority = describe(parse(), leaf, self.pinned)
            if leaf is not None and authority.signer is None:
                return authority, False
            seen = _Seen((text, authority.signer), authority, now, leaf)
            if not self._noted(seen, before, now):
                if leaf is None:
                    return authority, False
                raise BackendUnavailable(f"{MAX_AUTHORITIES} CAs have signed, and their leaves live: this is one more")
        seen.until = max(seen.until, now if leaf is None else _end(leaf, asked))
        if leaf is not None and seen is before and seen.key == self._signed:
            return seen.authority, False
        self._compare(seen.key, leaf is not None)
        self._seen.move_to_end(seen.key)
        self._forget(now)
        current = self._current(now)
        return seen.authority, before is None or current is None or current.authority != before.authority

    def move_on(self) -> None:
        """The far side was told to sign with another CA, which nobody has seen yet; leaves of those seen may live."""
        self._signed = self._shown = None

    def pin(self, roots: tuple[x509.Certificate, ...]) -> bool:
        """Believe these roots only, where there are some; tell whether they are others than before.

        A CA that was learnt before its root was known has no chain yet, so all are described anew.
        """
        if roots == self.pinned:
            return False
        self.pinned = roots
        for seen in self._seen.values():
            known = seen.authority
            seen.authority = describe((*known.issuers, *known.roots), seen.leaf, roots)
        return True

    def _recalled(self, text: str, leaf: x509.Certificate | None) -> _Seen | None:
        """What is known of a text, the latest first; for a leaf, of the CA in it that signed this very one."""
        known = (seen for seen in reversed(self._seen.values()) if seen.key[0] == text)
        if leaf is None:
            return next(known, None)
        return next((seen for seen in known if seen.leaf and seen.key[1] and issued(leaf, seen.key[1])), None)

    def _noted(self, seen: _Seen, current: _Seen | None, now: datetime) -> bool:
        """Keep a CA, in the place of what was only shown by the same text; tell whether there was room for it."""
        for key in [key for key, other in self._seen.items() if key[0] == seen.key[0] and other.leaf is None]:
            del self._seen[key]
        self._seen[seen.key] = seen
        if self._make_room((seen, current), now):
            return True
        del self._seen[seen.key]
        return False

    def info(self, now: datetime) -> IssuerInfo:
        """Describe what signs now, with the roots of everything whose leaves may live.

        The root of a CA that was only shown is left out as soon as another one has signed: nobody chose it.
        """
        self._forget(now)
        current = self._current(now)
        chosen = (s for s in self._seen.values() if s is current or (s.leaf and now <= s.until))
        ordered = TrustBundle.of(self.pinned or (root for seen in chosen for root in seen.authority.roots)).roots
        if current is None:
            return IssuerInfo(ordered, configured=bool(self.pinned))
        return IssuerInfo(ordered, current.authority.chain, current.authority.window, configured=bool(self.pinned))

    def _compare(self, key: _Key, signed: bool) -> None:
        """Remember whether the CA that a mount shows is the one that signs, as of the last time that both were seen."""
        if signed:
            self._signed = key
        else:
            self._shown = key[0]
        same = self._signed is not None and self._signed[0] == self._shown
        if same or signed:
            self._signs_as_shown = same

    def has_living_leaves(self, now: datetime) -> bool:
        """Tell whether a leaf of any of them may live."""
        return any(seen.leaf is not None and seen.until > now for seen in self._seen.values())

    def _current(self, now: datetime) -> _Seen | None:
        """What signs now: the last that has signed, or what the mount shows since, where it shows what signs.

        It may show another one always, for a role may choose its issuer. And whoever has nothing to sign must not take
        the last one for that which signs, for ever. Near its end the one shown counts too: nobody would ask the old
        one for another signature, and so nobody would learn of the new one.
        """
        last = self._seen.get(self._signed) if self._signed is not None else None
        shown = self._recalled(self._shown, None) if self._shown is not None else None
        if last is None or shown is None or self._signed == shown.key:
            return last or shown
        ends = last.authority.window is not None and last.authority.window[1] - now < _NEAR_ITS_END
        return shown if ends or (self._signs_as_shown and last.key[0] != self._shown) else last

    def _forget(self, now: datetime) -> None:
        kept = [seen.key for seen in (self._current(now),) if seen is not None]
        for key, seen in [*self._seen.items()]:
            if seen.until < now and key not in kept and key[0] != self._shown:
                del self._seen[key]

    def _make_room(self, kept: tuple[_Seen | None, ...], now: datetime) -> bool:
        """Forget whose root nobody needs, or is known by another one; tell whether that is enough."""
        while len(self._seen) > MAX_AUTHORITIES:
            others = [(key, seen) for key, seen in self._seen.items() if not any(seen is one for one in kept)]
            key = next((key for key, seen in others if self._is_spare(seen, now)), None)
            if key is None:
                return False
            del self._seen[key]
        return True

    def _is_spare(self, seen: _Seen, now: datetime) -> bool:
        if self.pinned or seen.leaf is None or seen.until <= now:
            return True
        others = {root for other in self._seen.values() if other is not seen for root in other.authority.roots}
        return others.issuperset(seen.authority.roots)


def _end(leaf: x509.Certificate, asked: SigningRequest | None) -> datetime:
    """Until when a leaf may be in use: one that outlives the wish is refused, whatever it says itself."""
    end = leaf.not_valid_after_utc
    return end if asked is None else min(end, asked.validity.not_after + CLOCK_LEEWAY)


def describe(
    certificates: Sequence[x509.Certificate], leaf: x509.Certificate | None, pinned: Sequence[x509.Certificate] = ()
) -> Authority:
    """Sort a signer's certificates into roots and others, and find the way up from whoever signed.

    Without a leaf the first certificate is taken for the signing one, as all signers list it first.
    """
    unique = list(dict.fromkeys(certificates))
    roots = tuple(c for c in unique if _is_root(c))
    issuers = [c for c in unique if c not in roots]
    if leaf is None:
        signer = unique[0] if unique else None
    else:
        signer = next((c for c in (*unique, *pinned) if issued(leaf, c)), None)
        roots = _climbed(leaf, issuers, roots)
    if signer in issuers:
        issuers = [signer, *(c for c in issuers if c != signer)]
    anchors = list(pinned or roots)
    chain = climb(signer, issuers, anchors, []) if signer is not None else None
    if chain is None:
        return Authority(tuple(issuers), roots, signer=signer)
    top = next(root for root in anchors if issued(chain[-1], root))
    return Authority(tuple(issuers), roots, chain, window((*chain, top)), signer)


def _climbed(
    leaf: x509.Certificate, issuers: Sequence[x509.Certificate], roots: Sequence[x509.Certificate]
) -> tuple[x509.Certificate, ...]:
    """The roots that some way up from the leaf leads to: a cross-signed CA has several."""
    found, left = [leaf], list(issuers)
    for below in found:
        above = [c for c in left if issued(below, c)]
        left = [c for c in left if c not in above]
        found += above
    return tuple(root for root in roots if any(issued(c, root) for c in found))


def _is_root(certificate: x509.Certificate) -> bool:
    """A name alone makes no root: its own key must have signed it."""
    try:
        return is_self_issued(certificate) and is_ca(certificate) and issued(certificate, certificate)
    except UNPARSABLE:
        return False
