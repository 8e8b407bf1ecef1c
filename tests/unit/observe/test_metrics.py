"""Metrics: Istio's names to the letter, and every metric in a table."""

import re

import pytest

from signer import __version__
from signer.core.errors import MEANINGS
from signer.observe.gauges import show_backends, show_serving
from signer.observe.health import BackendState, Health
from signer.observe.metrics import CITADEL_COUNTERS, CITADEL_GAUGES, OWN, SIGN_ERRORS, Metrics
from tests.support.clock import HOUR, NOW

# Istio's dashboards and alert rules read these; a name with "_total" they would not find.
ISTIOS = {
    "citadel_server_csr_count",
    "citadel_server_authentication_failure_count",
    "citadel_server_csr_parsing_err_count",
    "citadel_server_id_extraction_err_count",
    "citadel_server_csr_sign_err_count",
    "citadel_server_success_cert_issuance_count",
    "citadel_server_root_cert_expiry_timestamp",
    "citadel_server_root_cert_expiry_seconds",
    "citadel_server_cert_chain_expiry_timestamp",
    "citadel_server_cert_chain_expiry_seconds",
}
_TEXT = "text/plain"
_OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def _text(metrics: Metrics, accept: str = _TEXT) -> str:
    return metrics.exposition(accept)[0].decode()


def _samples(text: str) -> dict[str, float]:
    lines = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in lines}


def test_tables_have_istios_names() -> None:
    """All of them and no others."""
    assert {row.name for row in [*CITADEL_COUNTERS.values(), *CITADEL_GAUGES.values()]} == ISTIOS


@pytest.mark.parametrize("accept", [_TEXT, _OPENMETRICS])
def test_exact_names_in_the_text(accept: str) -> None:
    """Whichever format a scraper asks for."""
    metrics = Metrics()
    metrics.expiry("root", lambda: 100.0, lambda: 40.0)
    metrics.expiry("chain", lambda: 30.0, lambda: 40.0)
    names = {re.split(r"[{ ]", line)[0] for line in _text(metrics, accept).splitlines() if line.startswith("citadel")}
    assert names == ISTIOS


def test_counters_are_there_from_the_start() -> None:
    """A rate over a counter that appears with its first failure misses that failure."""
    samples = _samples(_text(Metrics()))
    assert samples["citadel_server_csr_count"] == 0
    for error in SIGN_ERRORS:
        assert samples[f'citadel_server_csr_sign_err_count{{error="{error}"}}'] == 0


def test_counting() -> None:
    """By key and by label."""
    metrics = Metrics()
    for key in CITADEL_COUNTERS:
        if key != "signing":
            metrics.citadel.count(key)
    metrics.citadel.count_sign_error("TTL_ERROR")
    samples = _samples(_text(metrics))
    for key, row in CITADEL_COUNTERS.items():
        if key != "signing":
            assert samples[row.name] == 1
    assert samples['citadel_server_csr_sign_err_count{error="TTL_ERROR"}'] == 1


def test_labels_of_the_error_table_can_be_counted() -> None:
    """A label that the counter does not know would be a crash in the recorder."""
    for told in MEANINGS.values():
        if told.citadel_error is not None:
            Metrics().citadel.count_sign_error(told.citadel_error)


def test_expiry() -> None:
    """Computed at each scrape; seconds left go below zero."""
    metrics, now = Metrics(), [40.0]
    metrics.expiry("chain", lambda: 100.0, lambda: now[0])
    assert _samples(_text(metrics))["citadel_server_cert_chain_expiry_seconds"] == 60
    now[0] = 150.0
    samples = _samples(_text(metrics))
    assert samples["citadel_server_cert_chain_expiry_seconds"] == -50
    assert samples["citadel_server_cert_chain_expiry_timestamp"] == 100


def test_expiry_not_known() -> None:
    """No sample instead of a wrong one."""
    metrics = Metrics()
    metrics.expiry("root", lambda: None, lambda: 0.0)
    assert "root_cert_expiry" not in _text(metrics)


def test_own_names() -> None:
    """One prefix, a help text each, units where Prometheus wants them; all of them are exposed."""
    metrics = Metrics()
    metrics.lines(dict)
    text = _text(metrics)
    for row in OWN.values():
        assert row.name.startswith("istio_signer_")
        assert row.help.endswith(".")
        assert f"# HELP {row.name.removesuffix('_total')}" in text
    assert f'istio_signer_build_info{{version="{__version__}"}} 1.0' in text


def test_content_types() -> None:
    """Said as what is sent."""
    assert Metrics().exposition(_TEXT)[1].startswith("text/plain")
    assert Metrics().exposition(_OPENMETRICS)[1].startswith("application/openmetrics-text")


def test_backends_are_shown() -> None:
    """Up or not, and when the signing chain ends."""
    metrics, health = Metrics(), Health(())
    health.backend("good", BackendState(True, not_after=123.0))
    health.backend("bad", BackendState(False, "down"))
    show_backends(metrics, health)
    samples = _samples(_text(metrics))
    assert samples['istio_signer_backend_up{backend="good"}'] == 1
    assert samples['istio_signer_backend_up{backend="bad"}'] == 0
    assert samples['istio_signer_issuer_expiry_timestamp_seconds{backend="good"}'] == 123
    assert 'istio_signer_issuer_expiry_timestamp_seconds{backend="bad"}' not in samples


def test_lost_lines_are_shown() -> None:
    """By stream, as of the scrape."""
    metrics, dropped = Metrics(), {"audit": 7}
    metrics.lines(lambda: dropped)
    assert _samples(_text(metrics))['istio_signer_lines_dropped_total{stream="audit"}'] == 7
    dropped["audit"] = 8
    assert _samples(_text(metrics))['istio_signer_lines_dropped_total{stream="audit"}'] == 8


def test_serving_is_shown() -> None:
    """Renewals by result; the times stay when one fails."""
    metrics = Metrics()
    show_serving(metrics, True, NOW + 2 * HOUR, NOW + HOUR)
    show_serving(metrics, False, NOW + 2 * HOUR, None)
    samples = _samples(_text(metrics))
    assert samples['istio_signer_serving_certificate_renewals_total{result="success"}'] == 1
    assert samples['istio_signer_serving_certificate_renewals_total{result="failure"}'] == 1
    expiry = samples["istio_signer_serving_certificate_expiry_timestamp_seconds"]
    assert expiry == (NOW + 2 * HOUR).timestamp()
    renewal = samples["istio_signer_serving_certificate_next_renewal_timestamp_seconds"]
    assert renewal == (NOW + HOUR).timestamp()
