"""How a backend introduces itself: its type, its settings, and how to build it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from signer.core.ports import Backend, Clock


@dataclass(frozen=True, slots=True)
class BackendContext:
    """What every backend is given beside its settings."""

    name: str
    clock: Clock


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that ``istio-signer check`` has to say.

    Attributes:
        level: ``error`` (it will not work), ``warning`` (it will, badly) or ``ok``.
        where: The file or configuration key.
        text: What is wrong and what to do, or what is fine.
    """

    level: str
    where: str
    text: str


@dataclass(frozen=True, slots=True)
class BackendSpec:
    """What the registry holds of a backend.

    Attributes:
        name: The ``type`` of its configuration section.
        settings: A frozen dataclass: the section's other keys. ``timedelta`` fields are written as ``1h`` there.
        build: Makes the backend; does no I/O.
        check: Looks at what the settings point to and says what it finds; no side effect.
    """

    name: str
    settings: type[Any]
    build: Callable[[Any, BackendContext], Backend]
    check: Callable[[Any, BackendContext], list[Finding]]
