"""All returned chains."""

from tests.corpus import chains_leaf, chains_path
from tests.corpus.answers import Answer
from tests.corpus.case import Case

CHAINS: list[Case[Answer]] = [*chains_leaf.CORPUS.cases, *chains_path.CORPUS.cases]
