"""PostgreSQL for tests: a new database where a server answers."""

import contextlib
import os
from collections.abc import Iterator

import psycopg
import pytest

from e2e.processes import database, postgres_url


@contextlib.contextmanager
def new_postgres() -> Iterator[str]:
    """Make a database and yield its URL; skip where no server answers, unless IMGAPI_TEST_REQUIRE names postgresql."""
    with contextlib.ExitStack() as stack:
        try:
            url = stack.enter_context(database(postgres_url()))
        except psycopg.OperationalError as exc:
            reason = f"PostgreSQL does not answer at {postgres_url()}: {exc}"
            if "postgresql" in os.environ.get("IMGAPI_TEST_REQUIRE", ""):
                pytest.fail(reason)
            pytest.skip(reason)
        yield url
