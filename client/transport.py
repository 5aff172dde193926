"""How the client speaks HTTP: one address, one token, problem details as exceptions."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from client.errors import BadInput, Refused, Unreachable
from client.home import Home

Json = dict[str, Any]


class Transport:
    """The connection to one platform. Raises Unreachable and Refused (client.errors)."""

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        home: Home | None = None,
        timeout_s: float = 30.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """``url`` and ``token`` default to LASER_URL and LASER_TOKEN, then to what ``home`` (LASER_HOME) knows."""
        home = home or Home.from_environment()
        self.url = (url or home.url()).rstrip("/")
        token = home.token_for(self.url) if token is None else token
        self._http = httpx.Client(
            base_url=f"{self.url}/api/v1/",
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=timeout_s,
            transport=transport,
            trust_env=False,  # a proxy from the environment must not see a local address
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Ends open connections."""
        self._http.close()

    def _json(self, method: str, path: str, **options: Any) -> Json:
        return dict(self._request(method, path, **options).json())

    def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            response = self._http.request(method, path, **options)
        except httpx.TransportError as error:
            raise Unreachable(self.url, str(error)) from error
        require_success(response)
        return response

    @contextlib.contextmanager
    def _stream(self, method: str, path: str, **options: Any) -> Iterator[httpx.Response]:
        try:
            with self._http.stream(method, path, **options) as response:
                require_success(response)
                yield response
        except httpx.TransportError as error:
            raise Unreachable(self.url, str(error)) from error


def require_success(response: httpx.Response) -> None:
    if response.is_success:
        return
    response.read()
    try:
        problem = json.loads(response.text)
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        problem = {"title": f"{response.url} answered {response.status_code}: is this the platform's address?"}
    if response.status_code == 401:
        problem["detail"] = (
            "The platform asks for a token. Set LASER_TOKEN, or LASER_HOME to the home it was started with."
        )
    errors = problem.get("errors")
    raise Refused(
        response.status_code,
        str(problem.get("title", "")),
        str(problem.get("detail") or ""),
        errors if isinstance(errors, list) else None,
    )


def save_whole(response: httpx.Response, path: Path) -> int:
    """The body at ``path``, once it is complete and of the sha256 that the server tells; its size in bytes."""
    partial, digest = path.with_name(path.name + ".part"), hashlib.sha256()
    try:
        with partial.open("wb") as file:
            for piece in response.iter_bytes():
                digest.update(piece)
                file.write(piece)
        if digest.hexdigest() != response.headers.get("X-SHA256", digest.hexdigest()):
            raise BadInput(f"{response.url} is damaged on the platform: its sha256 isn't the one noted there.")
        partial.replace(path)
    except OSError as error:
        raise BadInput(f"{path} can't be written: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)
    return path.stat().st_size


def given(query: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in query.items() if value not in (None, "", (), [])}


def items(answer: Any) -> list[Json]:
    return list(answer["items"] if isinstance(answer, dict) else answer)
