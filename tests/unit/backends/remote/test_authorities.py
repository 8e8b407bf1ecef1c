"""The CAs that a remote signer was seen to sign with."""

from collections.abc import Sequence
from datetime import timedelta

import pytest
from cryptography import x509

from backends.remote.authorities import MAX_AUTHORITIES, Authorities, describe
from signer.core.chain import pem
from signer.core.errors import BackendUnavailable
from tests.corpus.answers import ASKED, asked, intermediate, leaf, root
from tests.support.clock import DAY, HOUR, NOW
from tests.support.pki import Ca, key, make_ca, spki

WINDOW = (NOW, NOW + HOUR)


def learn(known: Authorities, signer: Ca, *above: Ca, signed: bool = True, now: object = NOW) -> bool:
    """Have an answer seen; tell whether something has changed."""
    chain: Sequence[x509.Certificate] = [ca.certificate for ca in (signer, *above)]
    text = "".join(c.subject.rfc4514_string() + str(c.serial_number) for c in chain)
    made = leaf(signer, window=WINDOW) if signed else None
    return known.learn(text, lambda: chain, made, now)[1]  # type: ignore[arg-type]


def test_a_root_that_signs_itself_is_no_intermediate() -> None:
    found = describe([root().certificate], leaf(root()))
    assert (found.issuers, found.roots) == ((), (root().certificate,))
    assert found.chain == (root().certificate,)


def test_intermediates_and_roots_are_told_apart_in_any_order() -> None:
    found = describe([root().certificate, intermediate().certificate, root().certificate], leaf(intermediate()))
    assert (found.issuers, found.roots) == ((intermediate().certificate,), (root().certificate,))
    assert found.window is not None


def test_a_name_alone_makes_no_root() -> None:
    """Subject and issuer are the same, and another key has signed it."""
    forged = make_ca("root", make_ca("root", kind="p384"))
    assert forged.certificate.subject == forged.certificate.issuer
    assert describe([forged.certificate], None).roots == ()


def test_the_same_answer_is_parsed_once() -> None:
    known, calls = Authorities(), []
    for _ in range(3):
        known.learn("text", lambda: calls.append(1) or [root().certificate], leaf(root()), NOW)  # type: ignore[func-returns-value]
    assert len(calls) == 1


def test_another_ca_is_a_change_and_the_old_root_stays_while_its_leaves_live() -> None:
    known, other = Authorities(), make_ca("other")
    assert learn(known, intermediate(), root())
    assert not learn(known, intermediate(), root())
    assert learn(known, other)
    assert set(known.info(NOW).roots) == {root().certificate, other.certificate}
    assert known.info(NOW).chain == (other.certificate,)
    late = NOW + HOUR + timedelta(seconds=1)
    assert set(known.info(late).roots) == {other.certificate}


def test_what_a_mount_shows_is_not_what_a_role_signs_with() -> None:
    known, shown = Authorities(), make_ca("shown")
    learn(known, shown, signed=False)
    learn(known, intermediate(), root())
    learn(known, shown, signed=False)
    assert known.info(NOW).chain == (intermediate().certificate,)
    assert known.info(NOW).roots == (root().certificate,), "nobody chose the one that is only shown"


def test_where_what_is_shown_has_signed_what_is_shown_next_will() -> None:
    known, new = Authorities(), make_ca("new")
    learn(known, root(), signed=False)
    learn(known, root())
    assert learn(known, new, signed=False)
    assert known.info(NOW).chain == (new.certificate,)
    assert set(known.info(NOW).roots) == {root().certificate, new.certificate}, "leaves of the old one live"


def test_whoever_signs_nothing_more_forgets_the_old_root_when_its_last_leaf_has_ended() -> None:
    """Otherwise a replica without callers would vouch for a root that was rotated away, for ever."""
    known, new = Authorities(), make_ca("new")
    learn(known, root(), signed=False)
    learn(known, root())
    learn(known, new, signed=False)
    assert known.info(NOW + HOUR + timedelta(seconds=1)).roots == (new.certificate,)


def test_an_answer_that_was_late_is_no_choice_of_the_role() -> None:
    known, new = Authorities(), make_ca("new")
    learn(known, root(), signed=False)
    learn(known, root())
    learn(known, new, signed=False)
    learn(known, root())
    learn(known, new)
    assert known.info(NOW).chain == (new.certificate,)
    assert known.info(NOW + HOUR + timedelta(seconds=1)).roots == (new.certificate,)


def test_one_that_was_told_to_change_vouches_for_the_leaves_that_live_and_no_longer() -> None:
    known = Authorities()
    learn(known, root())
    known.move_on()
    assert (known.info(NOW).chain, known.info(NOW).roots) == ((), (root().certificate,))
    assert known.info(NOW + HOUR + timedelta(seconds=1)).roots == ()
    assert learn(known, make_ca("new"))


def test_near_its_end_the_one_shown_counts() -> None:
    """Nobody would ask the old one again, and so nobody would learn of the new one."""
    ending = make_ca("ending", window=(NOW - DAY, NOW + timedelta(seconds=30)))
    known, shown = Authorities(), make_ca("shown")
    learn(known, ending)
    learn(known, shown, signed=False)
    assert known.info(NOW).chain == (shown.certificate,)


def test_pinned_roots_are_the_only_ones() -> None:
    known = Authorities(pinned=(root().certificate,))
    learn(known, make_ca("stranger"))
    assert known.info(NOW).roots == (root().certificate,)


def test_roots_pinned_later_complete_what_was_learnt_before() -> None:
    """Without a chain no leaf would be kept inside the CA's life, and nobody would be warned of its end."""
    known = Authorities()
    learn(known, intermediate())
    assert (known.info(NOW).chain, known.info(NOW).window) == ((), None)
    assert known.pin((root().certificate,))
    assert known.info(NOW).chain == (intermediate().certificate,)
    assert known.info(NOW).window is not None
    assert not known.pin((root().certificate,))


def test_without_the_pin_what_came_with_the_answers_counts_again() -> None:
    known = Authorities(pinned=(make_ca("stranger").certificate,))
    learn(known, intermediate(), root())
    assert known.info(NOW).chain == ()
    known.pin(())
    assert (known.info(NOW).chain, known.info(NOW).roots) == ((intermediate().certificate,), (root().certificate,))


def test_no_ca_whose_leaves_live_is_forgotten_for_a_new_one() -> None:
    """Its root would leave the mesh's bundle, and its leaves be trusted by nobody."""
    known = Authorities()
    for number in range(MAX_AUTHORITIES):
        learn(known, make_ca(f"root {number}"))
    before = known.info(NOW)
    with pytest.raises(BackendUnavailable, match="8 CAs have signed, and their leaves live"):
        learn(known, make_ca("one more"))
    assert not learn(known, make_ca("shown"), signed=False)
    assert known.info(NOW) == before
    later = NOW + HOUR
    assert learn(known, make_ca("one more"), now=later)
    assert known.info(later).roots != before.roots


def seen(known: Authorities, made: x509.Certificate, *cas: Ca) -> bool:
    """Have an answer to what was asked seen; tell whether something has changed."""
    chain = [ca.certificate for ca in cas]
    return known.learn("".join(map(pem, chain)), lambda: chain, made, NOW, asked())[1]


_SECOND = make_ca("second")
CLIMBS: dict[str, tuple[Sequence[Ca], Sequence[Ca]]] = {
    "in order": ([intermediate(), root()], [root()]),
    "the root first": ([root(), intermediate()], [root()]),
    "without its root": ([intermediate()], []),
    "a root beside": ([intermediate(), root(), make_ca("evil")], [root()]),
    "another root first": ([make_ca("evil"), intermediate(), root()], [root()]),
    "nothing but another root": ([make_ca("evil")], []),
    "cross-signed": (
        [intermediate(), make_ca("intermediate", _SECOND), _SECOND, root()],
        [root(), _SECOND],
    ),
}


@pytest.mark.parametrize("case", CLIMBS)
def test_only_roots_that_the_leaf_climbs_to_are_learnt(case: str) -> None:
    """All that is learnt enters the bundle of the mesh."""
    given, kept = CLIMBS[case]
    known = Authorities()
    seen(known, leaf(intermediate()), *given)
    assert set(known.info(NOW).roots) == {ca.certificate for ca in kept}


def test_an_answer_of_another_ca_displaces_nothing() -> None:
    """``verify`` refuses it, so nobody may remember it either."""
    known, stranger, evil = Authorities(), make_ca("stranger"), make_ca("evil")
    seen(known, leaf(intermediate()), intermediate(), root())
    before = known.info(NOW)
    for number in range(MAX_AUTHORITIES + 1):
        assert not seen(known, leaf(stranger), evil, make_ca(f"evil {number}"))
    assert known.info(NOW) == before


def test_a_leaf_of_another_key_tells_nothing() -> None:
    known, evil = Authorities(), make_ca("evil")
    assert not seen(known, leaf(evil, public=spki(key("p256/another"))), evil)
    assert known.info(NOW).roots == ()


def test_the_same_text_may_hold_two_cas_that_sign() -> None:
    """As where a bundle comes with each answer, and the signer changes from one root in it to the other."""
    known, first, second = Authorities(), make_ca("first"), make_ca("second")
    assert seen(known, leaf(first), first, second)
    assert known.info(NOW).roots == (first.certificate,)
    assert seen(known, leaf(second), first, second)
    assert set(known.info(NOW).roots) == {first.certificate, second.certificate}
    assert known.info(NOW).chain == (second.certificate,)
    assert not seen(known, leaf(second), first, second)


def test_what_was_only_shown_keeps_no_stranger_once_it_signs() -> None:
    known, evil = Authorities(), make_ca("evil")
    chain = [ca.certificate for ca in (intermediate(), root(), evil)]
    known.learn("".join(map(pem, chain)), lambda: chain, None, NOW)
    assert not seen(known, leaf(make_ca("stranger")), intermediate(), root(), evil)
    seen(known, leaf(intermediate()), intermediate(), root(), evil)
    assert known.info(NOW).roots == (root().certificate,)


def test_an_answer_chooses_no_end_of_its_own() -> None:
    """A leaf that outlives the wish is refused; its root must not stay for as long as it says."""
    known, other = Authorities(), make_ca("other")
    for _ in range(2):
        seen(known, leaf(other, window=(NOW, NOW + 365 * DAY)), other)
    seen(known, leaf(intermediate()), intermediate(), root())
    assert other.certificate in known.info(NOW).roots
    assert known.info(ASKED.not_after + timedelta(minutes=1)).roots == (root().certificate,)


def test_a_pinned_root_that_signs_itself_needs_no_certificate_in_the_answer() -> None:
    known = Authorities(pinned=(root().certificate,))
    assert seen(known, leaf(root()))
    assert not seen(known, leaf(root()))
    assert (known.info(NOW).chain, known.info(NOW).roots) == ((root().certificate,), (root().certificate,))


@pytest.mark.parametrize("pinned", [False, True])
def test_intermediates_of_roots_that_stay_make_way(pinned: bool) -> None:
    known = Authorities(pinned=(root().certificate,) if pinned else ())
    for number in range(MAX_AUTHORITIES + 5):
        learn(known, make_ca(f"intermediate {number}", root()), *(() if pinned else (root(),)))
    assert (known.info(NOW).roots, len(known._seen)) == ((root().certificate,), MAX_AUTHORITIES)
