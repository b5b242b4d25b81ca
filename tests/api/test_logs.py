"""What is logged, by this service or by the libraries below it, is one form."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from imgapi.api.logs import set_up_logs


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Leave logging as it was found."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def write_and_read(log_format: str = "json", level: str = "info") -> str:
    """Set up twice, log what uvicorn and asyncio log, and return what was written."""
    out = io.StringIO()
    set_up_logs(log_format, level, out)
    set_up_logs(log_format, level, out)
    uvicorn = logging.getLogger("uvicorn.error")
    uvicorn.info("Started server process [%d]", 7)
    uvicorn.warning("Invalid HTTP request %s.", "received")
    try:
        raise OSError("address in use")  # noqa: TRY301 - the traceback is what is tested
    except OSError:
        logging.getLogger("asyncio").exception("Task exception was never retrieved")
    return out.getvalue()


def test_libraries_log_in_the_same_form() -> None:
    """A line of uvicorn's or asyncio's is JSON with the keys of the service's own, once, traceback included."""
    warning, error = (json.loads(line) for line in write_and_read().splitlines())
    assert warning["event"] == "Invalid HTTP request received."
    assert (warning["level"], warning["logger"]) == ("warning", "uvicorn.error")
    assert warning["timestamp"].endswith("Z")
    assert "OSError: address in use" in error["exception"]


def test_request_id_is_in_libraries_lines_too() -> None:
    """What a library logs while a request is answered carries that request's id."""
    with structlog.contextvars.bound_contextvars(request_id="r1"):
        assert json.loads(write_and_read().splitlines()[0])["request_id"] == "r1"


def test_console_form_shows_libraries_lines() -> None:
    """The form for reading shows the same events."""
    written = write_and_read("console")
    assert written.count("Invalid HTTP request received.") == 1
    assert "Traceback" in written


def test_level_holds_for_libraries() -> None:
    """A level above warning silences libraries' warnings as well."""
    assert "Invalid HTTP" not in write_and_read(level="error")


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_variables_are_not_logged(log_format: str) -> None:
    """A traceback shows lines of code, and never what a key or a link was when it passed there."""
    # Made from parts, since the line itself is shown.
    parts = ("sk", "not", "to", "be", "seen")
    secret = "-".join(parts)
    out = io.StringIO()
    set_up_logs(log_format, "info", out)
    try:
        len(None if secret else "")  # type: ignore[arg-type]
    except TypeError:
        structlog.get_logger("imgapi").exception("unexpected failure")
        logging.getLogger("asyncio").exception("unexpected failure")
    assert out.getvalue().count("TypeError") >= 2
    assert secret not in out.getvalue()
