"""Replaces the root of a CA in files: the next CA lies beside the one in use until it takes over.

Staged files are named after the rotation, so that a step that died finds what it made. The backend reads its own names
only, and takes a changed set over once it is whole.
"""

from pathlib import Path

from cryptography import x509

from backends.held.ca import HeldCa, UnusableCa
from backends.local.backend import LocalSettings
from backends.local.ca import load_ca
from backends.local.files import CACERTS, TLS_SECRET, Files, Names, read_files
from backends.local.init import ROOT_KEY, CaPlan, plan_files
from backends.local.places import CaPlace, DirectoryPlace, SecretPlace, write_whole
from signer.core.chain import TrustBundle, fingerprint, pem
from signer.core.parsing import parse_certificates
from signer.core.rotation import Rotation
from signer.core.rotator import RotationRefused
from signer.core.spec import BackendContext, RotateOptions


class LocalRotator:
    """One CA directory, or the Secret that it is mounted from."""

    def __init__(self, settings: LocalSettings, context: BackendContext, options: RotateOptions) -> None:
        self._settings = settings
        self._context = context
        self._options = options
        self._opened: CaPlace | None = None

    async def current(self) -> tuple[x509.Certificate, ...]:
        """See ``RootRotator``."""
        if self._options.issuer:
            # It would be written down, and later steps would take it for the name of a Secret.
            raise RotationRefused("a local CA has no issuer to name: leave --issuer out, or see --next-directory")
        return self._judged(self._used(await self._load())).bundle.roots

    async def prepare(self, rotation: Rotation) -> x509.Certificate:
        """See ``RootRotator``."""
        contents = await self._load()
        staged = self._staged(contents, rotation)
        if staged is None:
            if rotation.given and not self._options.next_directory:
                raise RotationRefused("this rotation was begun with --next-directory: give it again, or abort")
            fresh = self._taken_over() if self._options.next_directory else self._made(rotation)
            ca = self._judged(fresh)
            if ca.bundle.covers(self._judged(self._used(contents)).bundle):
                raise RotationRefused(
                    "the next CA is under the same root as the one in use: replace its files, no more"
                )
            _root_of(ca)
            # The key last: with it the set is whole, and a try that died before is made anew.
            order = sorted(fresh.contents, key=lambda name: name == fresh.names.key)
            await (await self._place()).save({_name(rotation, name): fresh.contents[name] for name in order})
            staged = fresh
        return _root_of(self._judged(staged))

    async def switch(self, rotation: Rotation) -> None:
        """See ``RootRotator``."""
        contents = await self._load()
        used, staged = self._used(contents), self._staged(contents, rotation)
        if staged is None:
            raise RotationRefused(
                f"the next CA's files ({_name(rotation, '*')}) are gone: put them back, from a backup"
            )
        new, names = self._judged(staged), used.names
        _check_promised(_root_of(new), rotation)
        # A try that died may have left the new certificate beside the old key: only the roots are read.
        both = TrustBundle.of((*rotation.old, *_shown(used), *new.bundle.roots)).pem.encode("ascii")
        chain = "".join(map(pem, new.chain)).encode("ascii")
        own = chain if names.certificate == names.chain else pem(new.certificate).encode("ascii")
        key = staged.contents[staged.names.key]
        await (await self._place()).save(
            {names.roots: both, names.chain: chain, names.certificate: own, names.key: key}
        )

    async def retire(self, rotation: Rotation) -> None:
        """See ``RootRotator``."""
        contents = await self._load()
        used = self._used(contents)
        held = self._judged(used)
        gone = {fingerprint(root) for root in rotation.old}
        kept = [root for root in held.bundle.roots if fingerprint(root) not in gone]
        if not kept:
            raise RotationRefused(f"{used.names.roots} holds the old root alone: the new CA has never taken over")
        if not any(root in kept for root in held.anchors):
            # The leftovers are the other copy of the new CA's key: they must not go now.
            raise RotationRefused(
                f"{used.names.certificate} leads to the old root: somebody has put the old CA back. Put the files "
                f"{_name(rotation, '*')} in its place, wait for the last leaves of the old one to end, then advance"
            )
        roots = TrustBundle.of(kept).pem.encode("ascii")
        await (await self._place()).save({used.names.roots: roots, **_leftovers(contents, rotation)})

    async def discard(self, rotation: Rotation) -> None:
        """See ``RootRotator``."""
        await (await self._place()).save(_leftovers(await self._load(), rotation))

    async def close(self) -> None:
        """See ``RootRotator``."""
        if self._opened is not None:
            await self._opened.close()

    async def _place(self) -> CaPlace:
        if self._opened is None:
            secret = self._options.secret
            self._opened = (
                await SecretPlace.open(secret, self._context) if secret else DirectoryPlace(self._settings.directory)
            )
        return self._opened

    async def _load(self) -> dict[str, bytes]:
        return await (await self._place()).load()

    def _password(self) -> bytes | None:
        file = self._settings.key_password_file
        try:
            return file.read_bytes().strip() if file else None
        except OSError as error:
            raise RotationRefused(f"{file}: cannot be read: {error.strerror}") from None

    def _used(self, contents: dict[str, bytes]) -> Files:
        for names in (CACERTS, TLS_SECRET):
            if names.key in contents:
                return self._files(names, contents, "")
        raise RotationRefused(f"neither {CACERTS.key} nor {TLS_SECRET.key} is there: no CA to rotate")

    def _staged(self, contents: dict[str, bytes], rotation: Rotation) -> Files | None:
        whole = _name(rotation, CACERTS.key) in contents
        return self._files(CACERTS, contents, _name(rotation, "")) if whole else None

    def _files(self, names: Names, contents: dict[str, bytes], prefix: str) -> Files:
        wanted = dict.fromkeys((names.certificate, names.key, names.chain, names.roots))
        found = {name: contents[prefix + name] for name in wanted if prefix + name in contents}
        return Files(names, found, self._password())

    def _judged(self, files: Files) -> HeldCa:
        try:
            return load_ca(files, self._context.clock.now())
        except UnusableCa as error:
            raise RotationRefused(str(error)) from None

    def _taken_over(self) -> Files:
        """A CA that somebody else has made, under ``cacerts`` names whatever it came under."""
        assert self._options.next_directory is not None  # noqa: S101  the caller looked
        try:
            files = read_files(self._options.next_directory, self._settings.key_password_file)
        except UnusableCa as error:
            raise RotationRefused(str(error)) from None
        own = files.names
        renamed = zip((CACERTS.certificate, CACERTS.key, CACERTS.chain, CACERTS.roots), _parts(own), strict=True)
        return Files(
            CACERTS, {new: files.contents[old] for new, old in renamed if old in files.contents}, files.password
        )

    def _made(self, rotation: Rotation) -> Files:
        """A new root and an intermediate; the root's key goes to a directory of the operator's, to be taken offline."""
        # A directory of each rotation's own: another one may hold the only copy of the key of the root in use.
        offline = (self._options.root_directory or Path()) / f"root-{rotation.id}"
        below = 1 if self._settings.mode == "intermediate" else 0
        plan = CaPlan(
            Path("staged"), Path("offline"), self._context.trust_domain, password=self._password(), path_length=below
        )
        made = plan_files(plan, self._context.clock.now())
        try:
            offline.mkdir(parents=True, exist_ok=True, mode=0o700)
            for name in (ROOT_KEY, CACERTS.roots):
                write_whole(offline / name, made[plan.root_directory / name])
        except OSError as error:
            raise RotationRefused(
                f"{error.filename}: cannot be written: {error.strerror}; see --root-directory"
            ) from None
        contents = {path.name: data for path, data in made.items() if path.parent == plan.directory}
        return Files(CACERTS, contents, plan.password)


def _parts(names: Names) -> tuple[str, str, str, str]:
    return names.certificate, names.key, names.chain, names.roots


def _name(rotation: Rotation, name: str) -> str:
    return f"rotation-{rotation.id}-{name}"


def _leftovers(contents: dict[str, bytes], rotation: Rotation) -> dict[str, None]:
    """Those that a write which died has left half done too: there are keys among them."""
    return {name: None for name in contents if name.removeprefix(".").startswith(_name(rotation, ""))}


def _shown(files: Files) -> list[x509.Certificate]:
    """The roots in use; none where the CA is its own root."""
    try:
        return parse_certificates(files.contents[files.names.roots]) if files.names.roots in files.contents else []
    except ValueError:
        raise RotationRefused(f"{files.names.roots}: holds no PEM certificate, or a broken one") from None


def _check_promised(root: x509.Certificate, rotation: Rotation) -> None:
    """Two who prepare at the same moment may each make a CA, and everybody trusts the root of one of them only."""
    if rotation.new is not None and fingerprint(root) != fingerprint(rotation.new):
        raise RotationRefused(
            f"the next CA's files ({_name(rotation, '*')}) are under root {fingerprint(root)[:16]}, and not under"
            f" {fingerprint(rotation.new)[:16]}, which everybody trusts by now: put those back, from a backup"
        )


def _root_of(ca: HeldCa) -> x509.Certificate:
    """The root that the CA's path ends in; a bundle of several would not say which one is new."""
    if len(ca.bundle.roots) != 1:
        raise RotationRefused(f"the next CA's {CACERTS.roots} must hold its one root; it holds {len(ca.bundle.roots)}")
    return ca.bundle.roots[0]
