"""The `laser` command, the Python client (``from client import Client``) and the local stack."""

from client.http import Client

__all__ = ["Client"]
