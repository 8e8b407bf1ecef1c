"""What happens on the way to the backends, counted."""

from signer.observe.metrics import Metrics
from signer.observe.signing import SigningMetrics


def test_counting() -> None:
    """By the labels of the table; shared answers are there from the start."""
    metrics = Metrics()
    watch = SigningMetrics(metrics)
    assert 'istio_signer_coalesced_total{source="remembered"} 0.0' in _text(metrics)
    for _ in range(2):
        watch.attempt("vault", "timeout")
    watch.failover("vault", "local")
    watch.coalesced("in_flight")
    text = _text(metrics)
    assert 'istio_signer_backend_attempts_total{backend="vault",result="timeout"} 2.0' in text
    assert 'istio_signer_failovers_total{from="vault",to="local"} 1.0' in text
    assert 'istio_signer_coalesced_total{source="in_flight"} 1.0' in text


def _text(metrics: Metrics) -> str:
    return metrics.exposition("text/plain")[0].decode()
