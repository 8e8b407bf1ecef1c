"""How a backend introduces itself: its type, its settings, and how to build it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from signer.core.events import Meter, NoMeter
from signer.core.ports import Backend, Clock
from signer.core.rotator import RootRotator
from signer.core.types import ServerNames


@dataclass(frozen=True, slots=True)
class BackendContext:
    """What every backend is given beside its settings.

    Attributes:
        name: Its name in the configuration.
        trust_domain: The mesh's, for advice and for names.
        max_ttl: The longest lifetime that any route allows, for advice.
        grace_ratio: The part of the lifetime left at which certificates of one's own are renewed.
        kubeconfig: How to reach the local cluster, for backends that live in it; None means the pod's own account.
        kube_context: A context of that file; None means its current one.
        meter: Counts the backend's events.
        serving: The names of the signer's own certificate where this backend signs it, for advice; none otherwise.
    """

    name: str
    clock: Clock
    trust_domain: str = "cluster.local"
    max_ttl: timedelta = timedelta(hours=24)
    grace_ratio: float = 0.5
    kubeconfig: Path | None = None
    kube_context: str | None = None
    meter: Meter = field(default_factory=NoMeter)
    serving: ServerNames = field(default_factory=ServerNames)

    def cluster(self, kubeconfig: Path | None, kube_context: str | None) -> tuple[Path | None, str | None]:
        """Give kubeconfig and context of a backend's cluster: its own, or the local one where it names none."""
        return (self.kubeconfig, self.kube_context) if kubeconfig is None else (kubeconfig, kube_context)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that ``istio-signer check`` has to say.

    Attributes:
        level: ``error`` (it will not work), ``warning`` (it will, badly) or ``ok``.
        where: The file or configuration key.
        text: What is wrong and what to do, or what is fine.
        fix: The exact command that mends it, to be pasted into a shell; empty where there is none.
    """

    level: str
    where: str
    text: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class NoAnswer(Finding):
    """A far side that does not answer now: nothing is wrong with the configuration, and trying again may help."""


async def nothing_live(_: Any, __: BackendContext) -> list[Finding]:
    """The live check of a backend that has no far side to ask."""
    return []


@dataclass(frozen=True, slots=True)
class RotateOptions:
    """What an operator says of the issuer that comes, for ``istio-signer rotate-root start``.

    Attributes:
        issuer: Its name at the CA, where somebody has made it already.
        root_file: PEM, its root, where the CA does not show it.
        next_directory: A whole CA directory to take over, where somebody has made one.
        root_directory: Gets a directory ``root-ID`` with the root's key, where this program makes the root.
        secret: ``NAMESPACE/NAME`` of the Secret that the CA's directory is mounted from.
    """

    issuer: str = ""
    root_file: Path | None = None
    next_directory: Path | None = None
    root_directory: Path | None = None
    secret: str = ""


NewRotator = Callable[[Any, BackendContext, RotateOptions], RootRotator]


@dataclass(frozen=True, slots=True)
class BackendSpec:
    """What the registry holds of a backend.

    Attributes:
        name: The ``type`` of its configuration section.
        settings: A frozen dataclass: the section's other keys. ``timedelta`` fields are written as ``1h`` there.
        build: Makes the backend; does no I/O.
        check: Looks at what the settings point to and says what it finds; no side effect, nothing leaves the machine.
        check_live: Asks the far side what would stand in the way of signing (``istio-signer check --live``); changes
            nothing there, ends within half a minute. An answer that cannot be had is a finding too.
        rotator: Makes what replaces the root that it signs under; None where that cannot be done from here.
    """

    name: str
    settings: type[Any]
    build: Callable[[Any, BackendContext], Backend]
    check: Callable[[Any, BackendContext], list[Finding]]
    check_live: Callable[[Any, BackendContext], Awaitable[list[Finding]]] = nothing_live
    rotator: NewRotator | None = None
