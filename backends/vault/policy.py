"""Whether a token may call the path that signs, and the command that lets it. Pure.

Source: Vault's HTTP API, ``sys/capabilities-self``; the policy ``default``, which tokens have unless it was taken away,
lets each of them ask.
"""

import re
import shlex
from collections.abc import Sequence

from backends.vault.answers import Reply

ASK = "sys/capabilities-self"
# Signing is an update: no path of the PKI engine tells it from a creation.
_ENOUGH = {"update", "root"}
# Whatever else may stand in a path would need quoting twice: for the shell and for the policy.
_PLAIN = re.compile(r"[\w./+-]+")


def allowed(reply: Reply, path: str) -> bool | None:
    """Tell whether the token that asked may sign at a path; None where the answer does not say."""
    data = reply.body.get("data")
    found = data.get(path) if reply.status == 200 and isinstance(data, dict) else None
    return not _ENOUGH.isdisjoint(map(str, found)) if isinstance(found, list) else None


def policy_fix(policies: Sequence[str], path: str) -> str:
    """Give the command that adds the right to a policy of the login; what stands in it is kept.

    Args:
        policies: Of the token; where none of them can be changed, a new one is written, for the login's role.
        path: The path that signs.
    """
    if not _PLAIN.fullmatch(path):
        return ""
    name = shlex.quote(next((name for name in policies if name not in ("default", "root")), "istio-signer"))
    rule = f'path "{path}" {{\n  capabilities = ["create", "update"]\n}}'
    return f"vault policy write {name} - <<EOF\n$(vault policy read {name})\n{rule}\nEOF"
