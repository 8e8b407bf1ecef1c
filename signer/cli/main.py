"""``istio-signer``: finds the verb and runs it."""

import argparse
import os
import sys
from importlib import import_module
from typing import Any

from signer import __version__
from signer.cli.common import EXIT_CODES, REFUSED, Failure

# Verb -> what it is for. Each is a module here, with "_" for "-", that has add_arguments(parser) and run(args) -> exit
# code; it is imported only when used, so that --help is quick.
VERBS: dict[str, str] = {
    "serve": "run the certificate authority",
    "init": "make a root and an intermediate CA on disk",
    "request": "get a certificate from a running signer, as a proxy would",
    "check": "validate a configuration and everything that it points to",
    "explain": "say whose identity a caller would get, by which rule, from which backend",
    "rotate-root": "replace the root that the mesh trusts, step by step, with nothing failing",
    "demo": "show the whole thing on this machine: issue, rotate, handshake",
}


def parser(verb: str | None = None) -> argparse.ArgumentParser:
    """Build the parser; only the named verb's arguments are filled in."""
    top = argparse.ArgumentParser(
        prog="istio-signer",
        description="An external certificate authority for the Istio service mesh.",
        epilog=f"exit codes: {EXIT_CODES}",
    )
    top.add_argument("--version", action="version", version=f"istio-signer {__version__}")
    commands = top.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, purpose in VERBS.items():
        command = commands.add_parser(name, help=purpose, description=f"{purpose[0].upper()}{purpose[1:]}.")
        if name == verb:
            _module(name).add_arguments(command)
    return top


def _module(verb: str) -> Any:
    return import_module(f"signer.cli.{verb.replace('-', '_')}")


def main(arguments: list[str] | None = None) -> int:
    """Run one verb.

    Returns:
        The exit code.
    """
    given = sys.argv[1:] if arguments is None else arguments
    verb = next((a for a in given if a in VERBS), None)
    args = parser(verb).parse_args(given)
    try:
        code = int(_module(args.verb).run(args))
        # Here and not at the interpreter's end, where a reader that has gone away could no longer be caught.
        sys.stdout.flush()
        return code
    except Failure as failure:
        print(f"istio-signer {args.verb}: {failure}", file=sys.stderr)
        return failure.code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        _drop_output()
        return REFUSED
    except OSError as error:
        # A path that an option names and that cannot be read or written: the user's affair, not a bug with a stack.
        where = f"{error.filename}: " if error.filename is not None else ""
        print(f"istio-signer {args.verb}: {where}{error.strerror or error}", file=sys.stderr)
        return REFUSED


def _drop_output() -> None:
    """Send what is still buffered nowhere: its reader has gone away, as `head` does, and needs no complaint."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


if __name__ == "__main__":
    sys.exit(main())
