"""What strangers may send, generated."""

import string

from hypothesis import strategies as st

from signer.core.identity import SpiffeId, TrustDomain

LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)
ACCOUNTS = st.lists(LABELS, min_size=1, max_size=4).map(".".join).filter(lambda name: len(name) <= 253)
DOMAINS = st.text(string.ascii_lowercase + string.digits + "._-", min_size=1, max_size=255).map(TrustDomain)
IDENTITIES = st.builds(SpiffeId, DOMAINS, LABELS, ACCOUNTS)

# Any JSON, odd numbers included.
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
