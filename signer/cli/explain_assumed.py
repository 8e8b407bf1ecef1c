"""``explain``'s callers that nobody has proven: an identity that the server could have proven is taken as given."""

import argparse

from signer.app.callers import aliases_of
from signer.app.one_cluster import domain_of
from signer.authn.clusters import ByCluster
from signer.cli.common import USAGE, Failure
from signer.config.model import Config
from signer.core.errors import AuthenticationFailed, IdentityRejected
from signer.core.identity import InvalidIdentity, SpiffeId
from signer.core.types import Caller, Credentials, Grant, PodRef

ASSUMED = "assumed"
OF_TOKENS = "goes with --token-file: the pod that a token names decides about it"


async def assumed_grant(config: Config, args: argparse.Namespace) -> Grant:
    """Take ``--identity`` for proven, and grant it.

    Raises:
        Failure: The options do not fit together.
        SignerError: No caller of that cluster could prove it.
    """
    if args.impersonate:
        raise Failure(f"--impersonate {OF_TOKENS}", USAGE)
    labels = _labels(args.pod_label)
    caller = await _assumed(config, _identity(args.identity), args.cluster_id, labels)
    return Grant(caller.identity, caller)


class _Assume:
    """Takes an identity for proven, in place of a cluster's API server."""

    def __init__(self, identity: SpiffeId, cluster: str, pod: PodRef | None) -> None:
        self._caller = Caller(identity, ASSUMED, cluster, pod)

    async def authenticate(self, credentials: Credentials) -> Caller:
        return self._caller


async def _assumed(config: Config, identity: SpiffeId, cluster: str, labels: dict[str, str]) -> Caller:
    """Assume an identity, but none that the server could not prove."""
    pod = PodRef(ASSUMED, ASSUMED, None, tuple(sorted(labels.items()))) if labels else None
    clusters = {c.id: _Assume(identity, c.id, pod) for c in config.clusters}
    by_cluster = ByCluster(config.clusters[0].id, clusters, aliases=aliases_of(config))
    caller = await _of_configured(config, by_cluster, cluster)
    (own,) = (domain_of(c, config) for c in config.clusters if c.id == caller.cluster)
    if identity.trust_domain != own:
        raise IdentityRejected(
            f"it is of trust domain {identity.trust_domain}; every caller of cluster {caller.cluster} is of {own}"
        )
    return caller


async def _of_configured(config: Config, by_cluster: ByCluster, cluster: str) -> Caller:
    try:
        return await by_cluster.authenticate(Credentials(None, cluster))
    except AuthenticationFailed as error:
        more = "; those of remote secrets can be judged by --token-file only" if config.remote_secrets.enabled else ""
        raise AuthenticationFailed(f"{error.reason}{more}") from None


def _identity(text: str) -> SpiffeId:
    try:
        return SpiffeId.parse(text)
    except InvalidIdentity as error:
        raise Failure(f"--identity: {error}", USAGE) from None


def _labels(texts: list[str]) -> dict[str, str]:
    labels = dict(text.partition("=")[::2] for text in texts if "=" in text)
    wrong = [text for text in texts if not text.partition("=")[0] or "=" not in text]
    if wrong:
        raise Failure(f"--pod-label: write KEY=VALUE; this is {wrong[0]!r:.80}", USAGE)
    return labels
