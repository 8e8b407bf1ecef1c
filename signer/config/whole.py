"""Complaints about keys that do not go together with keys of other sections, each at the key that is to be changed."""

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from signer.config.complaints import Where
from signer.config.model import Config
from signer.config.positions import KeyPath

_Complaint: TypeAlias = tuple[KeyPath, str]


def mismatched(config: Config, where: Where) -> list[str]:
    """Complain of names that are given twice or are no ids, and of settings without effect."""
    found = [*_names_twice(config), *_aliases_for_ids(config), *_without_effect(config)]
    return [where.complain(location, text) for location, text in found]


def _names_twice(config: Config) -> Iterator[_Complaint]:
    """Ids and aliases are one space of names: callers send either."""
    seen: set[str] = set()
    for i, cluster in enumerate(config.clusters):
        named: list[tuple[KeyPath, str]] = [(("clusters", i, "id"), cluster.id)]
        named += [(("clusters", i, "aliases", j), alias) for j, alias in enumerate(cluster.aliases)]
        for location, name in named:
            if name in seen:
                yield location, f"two clusters have the same id or alias: {_shown(name)}"
            seen.add(name)


def _aliases_for_ids(config: Config) -> Iterator[_Complaint]:
    """Callers are known by the id of their cluster, whichever name they sent: a condition on another never holds."""
    ids = {alias: cluster.id for cluster in config.clusters for alias in cluster.aliases}
    globs: list[tuple[KeyPath, Sequence[str]]] = [
        *((("rules", i, "clusters"), rule.clusters) for i, rule in enumerate(config.rules)),
        *((("routes", i, "match", "clusters"), route.match.clusters) for i, route in enumerate(config.routes)),
        *((("trust", "roots", i, "clusters"), root.clusters) for i, root in enumerate(config.trust.roots)),
    ]
    for location, names in globs:
        for j, name in enumerate(names):
            if name in ids:
                told = f"{_shown(name)} is an alias of {_shown(ids[name])}: write {_shown(ids[name])}"
                yield (*location, j), told


def _without_effect(config: Config) -> Iterator[_Complaint]:
    if config.authentication.certificate_age is not None and config.listen.mtls is None:
        yield ("authentication", "certificate_age"), "it is for renewals by certificate: set listen.mtls too"


def _shown(name: str) -> str:
    return f"{name[:100]!a}"
