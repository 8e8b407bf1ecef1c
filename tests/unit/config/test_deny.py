"""The deny list's file: YAML and JSON, and what cannot be read."""

import pytest

from signer.config.deny import parse_deny_list
from signer.core.deny import BadDenyList
from signer.core.identity import SpiffeId
from tests.support.clock import NOW

URI = "spiffe://cluster.local/ns/shop/sa/cart"
GOOD = {
    "yaml, flow": f'- {{identity: "{URI}", reason: "stolen node", until: "2026-12-01T00:00:00Z"}}\n',
    "yaml, block": f"# who\n- identity: {URI}\n  reason: stolen node\n  until: 2026-12-01T00:00:00Z\n",
    "yaml, marked": f"\ufeff- {{identity: {URI}, reason: stolen node}}\n",
    "json": f'[{{"identity": "{URI}", "reason": "stolen node"}}]',
    "json, spaced": f'\n [ {{"identity": "{URI}", "reason": "stolen\\u0020node", "until": null}} ]\n',
}


@pytest.mark.parametrize("text", GOOD.values(), ids=GOOD)
def test_good(text: str) -> None:
    denied = parse_deny_list(text.encode())
    assert denied.fault(NOW, identities=[SpiffeId.parse(URI)]) == f"denied: identity {URI} (stolen node)"


@pytest.mark.parametrize("text", [b"[]", b"[] # nobody\n", b"---\n[]\n"], ids=repr)
def test_nobody(text: bytes) -> None:
    assert len(parse_deny_list(text)) == 0


_TWICE = "the key identity is given twice"
BAD = {
    "nothing": (b"", "must be a list"),
    "comment": (b"# later\n", "must be a list"),
    "mapping": (b"deny: []\n", "must be a list"),
    "no YAML": (b"- {identity: [}\n", "line 1: not valid YAML"),
    "cut off": (b'[{"serial": "1"}, {"ser', "line 1: not valid YAML"),
    "two documents": (b"[]\n---\n[]\n", "not valid YAML"),
    "no text": (b"- {serial: '\xff'}\n", "not UTF-8 text"),
    "binary": (b"\0\0\0", "not valid YAML"),
    "key twice": (f"- serial: '1'\n- identity: {URI}\n  identity: {URI}\n".encode(), f"line 3: {_TWICE}"),
    "key twice, JSON": (b'[{"identity": "a", "identity": "b"}]', f"line 1: {_TWICE}"),
    "sexagesimal": (b"- {serial: 12:34:56}\n", "entry no. 1: serial: write a text; in quotes"),
    "code": (b"- !!python/object/apply:os.system [ls]\n", "line 1: not valid YAML"),
    "no such day": (b"- {serial: '1', until: 2026-13-01T00:00:00Z}\n", "not valid YAML"),
    "nested": (b"[" * 5000 + b"]" * 5000, "nested too deep"),
    "laughs": (
        b"- {identity: &a [x, x]}\n"
        + b"".join(b"- {identity: &%c [*%c, *%c]}\n" % (i + 1, i, i) for i in range(97, 120)),
        "entry no. 1: identity: write a text",
    ),
}


@pytest.mark.parametrize(("data", "told"), BAD.values(), ids=BAD)
def test_bad(data: bytes, told: str) -> None:
    with pytest.raises(BadDenyList) as refusal:
        parse_deny_list(data)
    assert told in str(refusal.value)
    assert len(str(refusal.value)) < 2000
