"""Structured logs: one event a line, as JSON or for reading."""

import logging
import sys
from typing import TextIO

import structlog


def set_up_logs(log_format: str, level: str, stream: TextIO | None = None) -> None:
    """Write events to standard error: each with its time, level and the id of the request it belongs to.

    Args:
        log_format: `json` or `console`.
        level: Least severe level written.
        stream: Where to write instead.
    """
    out = stream or sys.stderr
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=out.isatty())
    )
    tracebacks = [structlog.processors.format_exc_info] if log_format == "json" else []
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *tracebacks,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    # httpx logs whole URLs, signed queries included, at INFO.
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)
