"""What the store refuses, as one tree; the API maps each leaf to one HTTP status, the worker acts on Superseded.

StoreError
├── NotFound      no such run, dataset, artifact …
├── Conflict      the thing's present state doesn't allow it
├── Forbidden     whoever asks may not do this
├── Superseded    the writer's epoch is no longer the run's: stop quietly
├── Unreachable   the object storage doesn't answer, or refuses: later it may be different
├── Outdated      this code and the database are of different versions
└── Refused       the request can't be carried out; ``problems`` names every field
"""

from __future__ import annotations

from laser_core.schema import Problem


class StoreError(Exception):
    """Base of every expected error of the store; its text is meant for people."""


class NotFound(StoreError):
    """No such thing."""


class Conflict(StoreError):
    """The thing's present state doesn't allow it."""


class Forbidden(StoreError):
    """Whoever asks may not do this; the text says why, and who may."""


class Superseded(StoreError):
    """A write under an epoch that is no longer the run's, or after the run left the worker's hands."""


class Unreachable(StoreError):
    """The object storage doesn't answer, or refuses; ``code`` is its own word for why, empty where it said none."""

    def __init__(self, message: str, code: str = "") -> None:
        self.code = code
        super().__init__(message)


class Outdated(StoreError):
    """This code and the database are of different versions; nothing may be claimed."""


class Refused(StoreError):
    """A request that names things that aren't there or don't fit."""

    def __init__(self, *problems: Problem) -> None:
        self.problems = problems
        super().__init__("; ".join(f"{p.field}: {p.message}" for p in problems))
