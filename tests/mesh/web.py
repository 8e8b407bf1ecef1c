"""The little HTTP that the harness needs: one GET on loopback, one connection each."""

import http.client
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP response; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: str


def fetch(port: int, path: str, timeout: float = 10.0) -> Reply:
    """GET from loopback; timeout is in seconds for each socket operation.

    Raises:
        OSError: no connection, or no answer in time.
        http.client.HTTPException: what came is not HTTP.
    """
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Reply(response.status, headers, response.read().decode(errors="replace"))
