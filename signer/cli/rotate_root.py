"""``istio-signer rotate-root``."""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from signer.app.rotation import rotating
from signer.cli.common import OK, UNAVAILABLE, USAGE, Failure, add_config, add_output, load_config, print_json
from signer.config.durations import show_duration
from signer.core.chain import fingerprint
from signer.core.rotation import Phase, WrongPhase
from signer.core.rotator import RotationRefused
from signer.core.spec import RotateOptions
from signer.kube.no_cluster import NoCluster
from signer.runtime.clock import SystemClock
from signer.trust.rotation.gates import GateView
from signer.trust.rotation.steps import GateClosed, Status, Steps
from signer.trust.rotation.store import StoreConflict, StoreUnusable

_LOOK_SECONDS = 1.0
_LAST_LOOK_SECONDS = 30.0
_NEXT: dict[Phase, str] = {
    Phase.PREPARING: "the new issuer is being made; should that have died: advance",
    Phase.TRUSTING: "next: advance lets the new issuer sign; abort is possible until then",
    Phase.SWITCHING: "the new issuer is taking over; should that have died: advance",
    Phase.SIGNING: "next: advance takes the old root away",
    Phase.RETIRING: "the old root is going; should that have died: advance",
    Phase.DONE: "the old root is gone",
    Phase.ABORTING: "the new issuer is being taken away; should that have died: abort",
    Phase.ABORTED: "everything is as before",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.add_argument("step", choices=("start", "status", "advance", "abort"), help="what to do")
    add_config(parser)
    add_output(parser)
    parser.add_argument("--backend", default="", help="whose root (start; default: the first route's first backend)")
    parser.add_argument("--wait", action="store_true", help="advance: wait until it is time, and show what for")
    group = parser.add_argument_group("the issuer that comes", "By default this program makes a CA where it can.")
    group.add_argument("--issuer", default="", help="Vault: an issuer's name; cert-manager: KIND/NAME")
    group.add_argument("--root", type=Path, metavar="FILE", help="PEM, its root, where the CA does not show it")
    group.add_argument("--next-directory", type=Path, help="local CAs: a whole CA directory to take over")
    group.add_argument("--root-directory", type=Path, help="local CAs: gets root-ID, with the new root's key")
    group.add_argument("--secret", default="", metavar="NAMESPACE/NAME", help="local CAs mounted from this Secret")


def run(args: argparse.Namespace) -> int:
    """Do one step.

    Raises:
        Failure: It cannot be done, or not yet.
    """
    try:
        return asyncio.run(_run(args))
    except (WrongPhase, RotationRefused) as error:
        raise Failure(str(error)) from None
    except NoCluster as error:
        raise Failure(str(error), USAGE) from None
    except StoreConflict:
        raise Failure("others write the record all the time; try again", UNAVAILABLE) from None
    except StoreUnusable as error:
        raise Failure(str(error), UNAVAILABLE) from None


async def _run(args: argparse.Namespace) -> int:
    loaded = load_config(args.config)
    options = RotateOptions(args.issuer, args.root, args.next_directory, args.root_directory, args.secret)
    async with rotating(loaded, SystemClock(), options, args.backend) as (steps, backend):
        steps_by_name: dict[str, Callable[[], Awaitable[Any]]] = {
            "start": lambda: steps.start(backend, args.issuer or args.secret, given=bool(args.next_directory)),
            "status": steps.status,
            "advance": lambda: _advance(steps, args.wait),
            "abort": steps.abort,
        }
        await steps_by_name[args.step]()
        _show(await steps.status(), args.output)
    return OK


async def _advance(steps: Steps, wait: bool) -> None:
    progress = _Progress()
    try:
        while True:
            try:
                await steps.advance()
                return
            except GateClosed as closed:
                if not wait:
                    raise Failure(f"too early: waits for {_waiting(closed.view)}", UNAVAILABLE) from None
                progress.show(f"waits for {_waiting(closed.view)}", closed.view)
                pause = _pause(closed.view)
            except (StoreUnusable, StoreConflict) as error:
                if not wait:
                    raise
                # A wait of days outlives an API server that is away for a moment.
                progress.show(f"looks again: {error or 'others write the record at the same time'}", str(error))
                pause = _LOOK_SECONDS
            await asyncio.sleep(pause)
    finally:
        progress.end()


def _pause(view: GateView) -> float:
    """Seconds to the next look: each lists all namespaces, so it is not done more often than somebody would read it."""
    left = _LAST_LOOK_SECONDS if view.until is None else (view.until - SystemClock().now()).total_seconds()
    return min(_LAST_LOOK_SECONDS, max(_LOOK_SECONDS, left))


class _Progress:
    """One line that changes in place on a terminal; elsewhere a line whenever something else is waited for."""

    def __init__(self) -> None:
        self._shown = ""
        self._about: object = None
        self._live = sys.stderr.isatty()

    def show(self, text: str, about: object) -> None:
        """Show where things stand; ``about`` is what a line without a terminal is for."""
        if text == self._shown or (not self._live and about == self._about):
            return
        start, end = ("\r\033[K", "") if self._live else ("", "\n")
        print(f"{start}{text}", end=end, file=sys.stderr, flush=True)
        self._shown, self._about = text, about

    def end(self) -> None:
        """Leave the line."""
        if self._shown and self._live:
            print(file=sys.stderr)


def _waiting(view: GateView) -> str:
    if view.until is None:
        return view.waits_for
    left = view.until - SystemClock().now()
    whole = timedelta(seconds=max(1, round(left.total_seconds())))
    return f"{view.waits_for}: until {_moment(view.until)}, {show_duration(whole)} from now"


def _moment(at: datetime) -> str:
    return at.replace(microsecond=0).isoformat().replace("+00:00", "Z")


def _show(status: Status, output: str) -> None:
    if output == "json":
        print_json(_data(status))
        return
    rotation, gate = status.rotation, status.gate
    if rotation is None:
        print("no rotation was ever begun")
        return
    print(
        f"rotation {rotation.id} of backend {rotation.backend}: {rotation.phase.value} since {_moment(rotation.since)}"
    )
    for label, roots in (("old", rotation.old), ("new", (rotation.new,) if rotation.new else ())):
        for root in roots:
            print(f"  {label}  {root.subject.rfc4514_string()}  {fingerprint(root)[:16]}")
    print(_NEXT[rotation.phase])
    if gate is not None:
        print("it is time" if gate.open else f"waits for {_waiting(gate)}")


def _data(status: Status) -> dict[str, Any]:
    rotation, gate = status.rotation, status.gate
    if rotation is None:
        return {"rotation": None}
    shown = {
        "id": rotation.id,
        "backend": rotation.backend,
        "phase": rotation.phase.value,
        "since": _moment(rotation.since),
        "old": [fingerprint(root) for root in rotation.old],
        "new": fingerprint(rotation.new) if rotation.new else None,
    }
    until = _moment(gate.until) if gate is not None and gate.until is not None else None
    seen = None if gate is None else {"open": gate.open, "waits_for": gate.waits_for, "until": until}
    return {"rotation": shown, "gate": seen}
