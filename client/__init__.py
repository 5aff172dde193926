"""The `laser` command, the Python client (``from client import Client``) and the local stack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from client.http import Client as Client

__all__ = ["Client"]


def __getattr__(name: str) -> Any:
    """Loads the client when it is asked for: ``client.cli`` answers Ctrl-C before anything slow is imported."""
    if name != "Client":
        raise AttributeError(f"module 'client' has no attribute {name!r}")
    from client.http import Client

    return Client
