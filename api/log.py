"""Structured logs on stderr: JSON for files, colours for a terminal, secrets redacted."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

from store import logs


def configure(level: int = logging.INFO) -> None:
    """Sets structlog up for this process; asking again changes nothing."""
    pretty = sys.stderr.isatty()
    renderer: Any = structlog.dev.ConsoleRenderer() if pretty else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            logs.safe,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    logging.getLogger("uvicorn.access").disabled = True  # api.requests logs requests, without their secrets
