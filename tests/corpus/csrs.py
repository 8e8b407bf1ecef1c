"""All CSRs."""

from tests.corpus import csr_encoding, csr_extensions, csr_good, csr_keys, csr_names
from tests.corpus.case import Case

CSRS: list[Case[str]] = [
    case for module in (csr_good, csr_encoding, csr_keys, csr_names, csr_extensions) for case in module.CORPUS.cases
]
