"""Readiness: named parts, done once; a failing backend shows and takes nobody out of service."""

from signer.issue.breaker import BreakerView, State
from signer.observe.gauges import show_breakers
from signer.observe.health import BackendState, Health
from signer.observe.metrics import Metrics


def test_ready_when_all_parts_are_done() -> None:
    """Not before."""
    health = Health(("bundle", "listener"))
    assert (health.ready, health.pending) == (False, ["bundle", "listener"])
    health.done("bundle")
    assert (health.ready, health.pending) == (False, ["listener"])
    health.done("listener")
    assert (health.ready, health.pending) == (True, [])


def test_draining() -> None:
    """Unready from then on, whatever was done."""
    health = Health(("listener",))
    health.done("listener")
    health.drain()
    health.done("listener")
    assert (health.ready, health.pending) == (False, ["draining"])


def test_listeners_are_told_of_changes_only() -> None:
    """Once when ready, once when not."""
    heard: list[bool] = []
    health = Health(("a", "b"))
    health.on_change(heard.append)
    for part in ("a", "b", "b"):
        health.done(part)
    health.drain()
    assert heard == [True, False]


def test_a_failing_backend_is_shown() -> None:
    """In the report, not in readiness."""
    health = Health(("listener",))
    health.done("listener")
    health.backend("vault", BackendState(False, "sealed"))
    health.backend("local", BackendState(True))
    assert health.ready
    assert health.report().splitlines() == ["[+] listener", "[+] backend local", "[!] backend vault: sealed", "ready"]


def test_report_while_pending_and_draining() -> None:
    """Says what is missing."""
    health = Health(("listener",))
    assert health.report() == "[-] listener\nnot ready\n"
    health.done("listener")
    health.drain()
    assert health.report().splitlines() == ["[+] listener", "[-] draining", "not ready"]


def test_backends_are_a_copy() -> None:
    """Nobody changes the state from outside."""
    health = Health(())
    health.backend("a", BackendState(True))
    health.backends().clear()
    assert health.backends() == {"a": BackendState(True)}


def test_open_breakers_are_shown_and_change_no_readiness() -> None:
    """What is closed is no news; the metric has all of them, as of the scrape."""
    health, metrics = Health(("listener",)), Metrics()
    health.done("listener")
    breakers = {
        "calm": BreakerView(State.CLOSED, 99.0, 0, ""),
        "ill": BreakerView(State.OPEN, 12.3, 5, "sealed"),
        "trying": BreakerView(State.HALF_OPEN, 4.0, 5, "gone"),
    }
    health.watch_breakers(lambda: breakers)
    assert health.ready
    assert health.report().splitlines() == [
        "[+] listener",
        "[!] breaker of ill: open, ill for 12 s: sealed",
        "[!] breaker of trying: half-open, ill for 4 s: gone",
        "ready",
    ]
    show_breakers(metrics, health)
    text = metrics.exposition("text/plain")[0].decode()
    for name, value in (("calm", 0), ("trying", 1), ("ill", 2)):
        assert f'istio_signer_breaker_state{{backend="{name}"}} {value}.0' in text
