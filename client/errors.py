"""What can go wrong for the user of the client.

LaserError
├── Unreachable     nobody answers at the address                 exit code 3
├── Refused         the platform said no (problem+json)           exit code 2
├── BadInput        a file or argument can't be used              exit code 2
├── RunFailed       a run that was waited for did not succeed     exit code 1
└── StackError      the local stack can't start                   exit code 1
"""

from __future__ import annotations

from typing import Any, ClassVar


class LaserError(Exception):
    """Base of all expected errors; its text tells people what to do."""

    exit_code: ClassVar[int] = 1

    def to_json(self) -> dict[str, Any]:
        """The error as ``--json`` prints it."""
        return {"error": type(self).__name__, "detail": str(self)}


class Unreachable(LaserError):
    """No platform answers at ``url``."""

    exit_code = 3

    def __init__(self, url: str, reason: str = "") -> None:
        self.url, self.reason = url, reason
        super().__init__(f"No answer from {url}. Start it with `laser up`, or point LASER_URL at a running one.")


class Refused(LaserError):
    """The platform's problem details (RFC 9457): ``errors`` holds {field, message} of each thing wrong."""

    exit_code = 2

    def __init__(self, status: int, title: str, detail: str = "", errors: list[dict[str, Any]] | None = None) -> None:
        self.status, self.title, self.detail, self.errors = status, title, detail, errors or []
        listed = [f"{error.get('field') or 'request'}: {error.get('message', '')}" for error in self.errors]
        head = detail.partition(listed[0])[0] if len(listed) > 1 else detail  # one error is in the sentence already
        is_told = len(listed) == 1 and listed[0] in detail
        lines = [head.rstrip(": ") or title or f"HTTP {status}", *([] if is_told else (f"  {line}" for line in listed))]
        super().__init__("\n".join(lines))

    def to_json(self) -> dict[str, Any]:
        return {
            "error": "Refused",
            "status": self.status,
            "title": self.title,
            "detail": self.detail,
            "errors": self.errors,
        }


class BadInput(LaserError):
    """Something the user gave can't be used; found before anything was sent."""

    exit_code = 2


class RunFailed(LaserError):
    """A run ended otherwise than ``succeeded``."""


class StackError(LaserError):
    """The local stack can't be started or kept."""
