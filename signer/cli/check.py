"""``istio-signer check``."""

import argparse
import asyncio
import os
import re
import textwrap
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

import backends as registry
from signer.app.build import backend_context
from signer.authz.deny_file import DenyFile, DenyFileUnusable
from signer.cli.check_clusters import check_clusters
from signer.cli.common import OK, REFUSED, UNAVAILABLE, USAGE, add_config, add_output, print_json, settings_of
from signer.config.complaints import BadConfig
from signer.config.deny import parse_deny_list
from signer.config.load import PREFIX, Loaded, load, variables
from signer.config.model import Config
from signer.core.events import NoMeter
from signer.core.spec import Finding, NoAnswer
from signer.runtime.clock import SystemClock
from signer.trust.extras import ExtraRootsUnusable, contents_of, judged
from signer.trust.serving import PairUnavailable
from signer.trust.serving_sources import load_pair

# Kubernetes injects these for a Service named istio-signer.
_SERVICE_LINK = re.compile(rf"{PREFIX}(SERVICE_.*|PORT|PORT_\d+_TCP.*)")
_WHOLE = "configuration"
# Fixes stand on lines of their own, to be pasted into a shell.
_INDENT = " " * 13
_LIVE_SECONDS = 30.0
_MARKS = {"ok": "ok     ", "warning": "warning", "error": "error  "}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    add_config(parser)
    parser.add_argument(
        "--live", action="store_true", help="also ask API servers and backends whether they would do their part"
    )
    add_output(parser)


def run(args: argparse.Namespace) -> int:
    """Check.

    Returns:
        0 where nothing stands in the way of serving, 1 where something does, 2 where the file is unusable, 3 where all
        that is wrong is that an API server does not answer.
    """
    findings = list(_findings(args))
    if args.output == "json":
        print_json([_json(f) for f in findings])
    else:
        for finding in findings:
            print(f"{_MARKS[finding.level]}  {finding.where}: {finding.text}")
            if finding.fix:
                print(textwrap.indent(finding.fix, _INDENT))
    return _code([f for f in findings if f.level == "error"])


def _json(finding: Finding) -> dict[str, str]:
    told = {"level": finding.level, "where": finding.where, "text": finding.text}
    return told | ({"fix": finding.fix} if finding.fix else {})


def _code(errors: list[Finding]) -> int:
    if not errors:
        return OK
    if any(f.where == _WHOLE for f in errors):
        return USAGE
    return UNAVAILABLE if all(isinstance(f, NoAnswer) for f in errors) else REFUSED


def _findings(args: argparse.Namespace) -> Iterator[Finding]:
    try:
        loaded = load(args.config, settings_of)
    except BadConfig as error:
        yield from (Finding("error", _WHOLE, complaint) for complaint in error.complaints)
        return
    yield Finding("ok", _WHOLE, f"{args.config or 'environment'} can be used")
    yield from _environment(os.environ)
    yield from _backends(loaded)
    if args.live:
        yield from asyncio.run(_live_backends(loaded))
    yield from _serving(loaded.config)
    yield from _trust(loaded.config)
    yield from _lifetimes(loaded.config)
    yield from _deny(loaded.config)
    yield from asyncio.run(check_clusters(loaded.config, args.live))


def _environment(environment: Mapping[str, str]) -> Iterator[Finding]:
    known = {name for name, _ in variables()}
    for name in sorted(environment):
        if name.startswith(PREFIX) and name not in known and not _SERVICE_LINK.fullmatch(name):
            yield Finding("warning", name, "this variable sets no key; is it misspelt?")


def _backends(loaded: Loaded) -> Iterator[Finding]:
    for name, (type_name, settings) in loaded.backends.items():
        context = backend_context(loaded.config, name, SystemClock(), NoMeter())
        try:
            yield from registry.spec(type_name).check(settings, context)
        except Exception as error:  # noqa: BLE001  anybody's code; its text might quote a secret
            yield Finding("error", f"backends.{name}", f"bug in the backend's check: {type(error).__name__}")


async def _live_backends(loaded: Loaded) -> list[Finding]:
    """Ask every backend's far side, side by side."""
    found = await asyncio.gather(*(_live_backend(loaded, name) for name in loaded.backends))
    return [finding for findings in found for finding in findings]


async def _live_backend(loaded: Loaded, name: str) -> list[Finding]:
    type_name, settings = loaded.backends[name]
    context = backend_context(loaded.config, name, SystemClock(), NoMeter())
    where = f"backends.{name}"
    try:
        async with asyncio.timeout(_LIVE_SECONDS):
            return await registry.spec(type_name).check_live(settings, context)
    except TimeoutError:
        return [NoAnswer("error", where, f"no answer within {_LIVE_SECONDS:.0f} s")]
    except Exception as error:  # noqa: BLE001  anybody's code; its text might quote a secret
        return [Finding("error", where, f"bug in the backend's live check: {type(error).__name__}")]


def _serving(config: Config) -> Iterator[Finding]:
    serving = config.serving
    if serving.certificate_file is None or serving.key_file is None:
        names = ", ".join([*serving.dns_names, *map(str, serving.ip_addresses)])
        yield Finding("ok", "serving", f"certificate for {names}; the host of Istio's caAddress must be among these")
        return
    try:
        pair = load_pair(serving.certificate_file, serving.key_file, datetime.now(UTC))
    except PairUnavailable as error:
        yield Finding("error", "serving.certificate_file", str(error))
    else:
        yield Finding("ok", "serving.certificate_file", f"valid to {pair.window[1].isoformat()}")


def _trust(config: Config) -> Iterator[Finding]:
    for index, rule in enumerate(config.trust.roots):
        where = f"trust.roots.{index}.file"
        found = contents_of(rule.file)
        try:
            screened = judged(rule.file, found, datetime.now(UTC), frozenset(config.trust.distrust))
        except ExtraRootsUnusable as error:
            yield Finding("error", where, str(error))
            continue
        yield Finding("ok", where, f"{rule.file}: {len(screened.bundle.roots)} root(s)")
        for dropped in screened.dropped:
            yield Finding("warning", where, f"{rule.file}: not trusted: {dropped}")


def _lifetimes(config: Config) -> Iterator[Finding]:
    shortest = config.certificates.default_ttl
    if shortest.total_seconds() < 600:
        text = f"{shortest.total_seconds():.0f} s: proxies will renew every few minutes"
        yield Finding("warning", "certificates.default_ttl", text)


def _deny(config: Config) -> Iterator[Finding]:
    where = "deny.file"
    if config.deny.file is None:
        return
    try:
        denied = DenyFile(config.deny.file, parse_deny_list).look().usable()
    except DenyFileUnusable as error:
        yield Finding("error", where, str(error))
        return
    yield Finding("ok", where, f"{len(denied)} entries")
    past = denied.past(datetime.now(UTC))
    if past:
        yield Finding("warning", where, f"{past} of the entries have ended (until) and deny nobody")
