"""Structured logs: one event a line, as JSON or for reading."""

import io
import logging
import sys
from typing import TextIO

import structlog

HANDLER_NAME = "imgapi"


def set_up_logs(log_format: str, level: str, stream: TextIO | None = None) -> None:
    """Write events to standard error: each with its time, level and the id of the request it belongs to.

    Args:
        log_format: `json` or `console`.
        level: Least severe level written.
        stream: Where to write instead.
    """
    out: TextIO = stream or _StandardError()
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if log_format == "json"
        # The usual formatter shows the variables of every frame: keys, links, and what callers sent.
        else structlog.dev.ConsoleRenderer(colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback)
    )
    tracebacks: list[structlog.typing.Processor] = (
        [structlog.processors.format_exc_info] if log_format == "json" else []
    )
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, *tracebacks, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *tracebacks, renderer],
    )
    _route_libraries(formatter, max(logging.WARNING, logging.getLevelNamesMapping()[level.upper()]), out)


class _StandardError(io.StringIO):
    """Standard error as it is when something is written: whoever replaces it for a while closes what it was then."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()

    def isatty(self) -> bool:
        return sys.stderr.isatty()


def _route_libraries(formatter: logging.Formatter, level: int, out: TextIO) -> None:
    """Write what uvicorn, asyncio and other libraries log in the same form, once however often this is called."""
    root = logging.getLogger()
    for handler in [each for each in root.handlers if each.name == HANDLER_NAME]:
        root.removeHandler(handler)
    handler = logging.StreamHandler(out)
    handler.set_name(HANDLER_NAME)
    handler.setFormatter(formatter)
    root.addHandler(handler)
    root.setLevel(level)
    # httpx logs whole URLs, signed queries included, at INFO.
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)
