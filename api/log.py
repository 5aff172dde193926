"""Structured logs on stderr: JSON for files, colours for a terminal, secrets redacted."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog

_SECRET_NAMES = re.compile(r"authorization|cookie|password|secret|token|^code$", re.IGNORECASE)
_SECRETS = re.compile(r"(\b(?:code|token)=|\bBearer\s+|laser_session=)[^\s&;\"']+", re.IGNORECASE)
_CREDENTIALS = re.compile(r"(\w+://)[^/\s@]*@")


def redact(value: Any, name: str = "") -> Any:
    """The value without secrets: whole ones by their name, parts of text by their form."""
    if name and _SECRET_NAMES.search(name):
        return "[redacted]"
    if isinstance(value, str):
        return _CREDENTIALS.sub(r"\1***@", _SECRETS.sub(r"\1[redacted]", value))
    if isinstance(value, Mapping):
        return {key: redact(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact(item) for item in value]
    return value


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
            _redact_event,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    logging.getLogger("uvicorn.access").disabled = True  # api.requests logs requests, without their secrets


def _redact_event(logger: Any, method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    return {key: redact(value, key) for key, value in event.items()}
