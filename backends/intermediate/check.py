"""What ``istio-signer check`` says of an ``intermediate`` section, whatever the upstream."""

from datetime import timedelta

from backends.intermediate.minting import IntermediateSettings
from signer.core.spec import BackendContext, Finding


def check_lifetime(settings: IntermediateSettings, context: BackendContext) -> list[Finding]:
    """Tell of leaves that may come out shorter than allowed: none outlives the CA that signs it."""
    left = settings.ttl * context.grace_ratio
    if left >= context.max_ttl:
        return []
    text = (
        f"a CA of {_hours(settings.ttl)}, renewed when {context.grace_ratio:g} of its life is left, signs leaves of "
        f"{_hours(left)} only by then; {_hours(context.max_ttl)} are allowed (max_ttl): take "
        f"{_hours(context.max_ttl / context.grace_ratio)} or more"
    )
    return [Finding("warning", f"backends.{context.name}.intermediate.ttl", text)]


def _hours(span: timedelta) -> str:
    return f"{span / timedelta(hours=1):.4g}h"
