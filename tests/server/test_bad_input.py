"""The table of bad input through a real server: the right code, a constant text, the exact reason, nothing leaked."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.server.bad_input import MIB, REVIEW_ROWS, ROWS, ReviewRow, Row
from tests.server.calls import Client, bearer
from tests.server.review import Review
from tests.server.running import Running
from tests.server.verdicts import Marks, check_success, only_line, refused, still_serves


@pytest.fixture(scope="module")
def client(developing: Running) -> Iterator[Client]:
    """One connection for all rows: none of them may break it."""
    with developing.client() as kept:
        yield kept


# The library warns of an empty CN, before it is refused.
@pytest.mark.filterwarnings("ignore:Attribute's length must be")
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_row(developing: Running, client: Client, row: Row) -> None:
    call = row.make(developing.good())
    if row.error:
        refused(developing, client, call, row.error, row.reason)
    else:
        marks = Marks.of(developing)
        check_success(developing, marks, call, client.send(call))
    still_serves(developing, client)


@pytest.mark.parametrize("row", REVIEW_ROWS, ids=str)
def test_token_row(reviewed: Running, review: Review, row: ReviewRow) -> None:
    call = replace(reviewed.good(), authorization=bearer(row.make(review)))
    with reviewed.client() as client:
        refused(reviewed, client, call, "AuthenticationFailed", row.reason)
        still_serves(reviewed, client)


def test_over_1_mib_of_message(developing: Running, client: Client) -> None:
    """The library refuses it with a code of its own; the call is audited all the same."""
    marks = Marks.of(developing)
    call = replace(developing.good(), csr="x" * MIB)
    reply = client.send(call)
    assert (reply.code, reply.chain) == ("RESOURCE_EXHAUSTED", ())
    assert "or one of over 1 MiB" in only_line(developing, marks)["reason"]
    still_serves(developing, client)


def test_names_are_distinct() -> None:
    names = [str(row) for row in (*ROWS, *REVIEW_ROWS)]
    assert len(names) == len(set(names))
