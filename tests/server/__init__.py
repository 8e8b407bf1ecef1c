"""The whole server over real TLS on port 0: the contract point by point, bad input, reload and shutdown under load."""

import pytest

pytest.register_assert_rewrite("tests.server.running", "tests.server.traffic", "tests.server.verdicts")
