"""The CAs that a remote signer was seen to sign with."""

from collections.abc import Sequence
from datetime import timedelta

from cryptography import x509

from backends.remote.authorities import MAX_AUTHORITIES, Authorities, describe
from tests.corpus.answers import intermediate, leaf, root
from tests.support.clock import DAY, HOUR, NOW
from tests.support.pki import Ca, make_ca

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


def test_one_that_is_shown_then_signs_has_signed() -> None:
    known = Authorities()
    learn(known, root(), signed=False)
    learn(known, root())
    learn(known, make_ca("shown"), signed=False)
    assert (known.info(NOW).chain, known.info(NOW).roots) == ((root().certificate,), (root().certificate,))


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


def test_there_is_a_bound() -> None:
    known = Authorities()
    for number in range(MAX_AUTHORITIES + 5):
        learn(known, make_ca(f"root {number}"))
    assert len(known.info(NOW).roots) == MAX_AUTHORITIES
