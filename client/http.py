"""The platform's REST API as Python calls; every answer is the JSON the server sent."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx

from client.checkout import with_checkout
from client.errors import BadInput, Refused, Unreachable
from client.experiments import Experiments
from client.sse import Message, parse
from client.submission import read_config
from client.transport import Json as Json
from client.transport import Transport, given, items, require_success, save_whole

if TYPE_CHECKING:
    from client.curves import Curves

FINAL_STATES = frozenset({"succeeded", "failed", "cancelled"})

STREAM_SILENCE_S = 45.0  # three of the server's heartbeats


class Client(Transport):
    """Talks to one platform: ``Client()`` to the one that the ``laser`` command would find. Raises Unreachable and Refused
    (client.errors)."""

    @functools.cached_property
    def experiments(self) -> Experiments:
        """Groups of runs."""
        return Experiments(self._request)

    # --- runs ------------------------------------------------------------------------------------------------------

    def submit(
        self,
        config: Mapping[str, Any] | Path,
        idempotency_key: str | None = None,
        *,
        checkout: bool = True,
        **asked: Any,
    ) -> Json:
        """Creates a run of a configuration or of the YAML or JSON file that holds it; the same ``idempotency_key`` again
        gives the same run. ``asked``: priority (high, normal, low), pool (a worker's label), time_limit_s, gpus, gpu_memory,
        after (ids). In a git checkout its commit and changes go with it, unless ``checkout`` is False."""
        config = read_config(config) if isinstance(config, Path) else config
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        body = with_checkout(config, checkout)
        return self._json("POST", "runs", json=body, headers=headers, params=given(asked))

    def queue(self, limit: int = 100) -> Json:
        """What waits, in the order in which it will start, and what everybody has used: {items, total, standings, …}."""
        return self._json("GET", "queue", params={"limit": limit})

    def runs(self, **query: Any) -> Json:
        """One page: {items, next_cursor, total}. Filters: filter, state, kind, store, tag, text, id; sort, cursor,
        limit."""
        return self._json("GET", "runs", params=given(query))

    def iter_runs(self, **query: Any) -> Iterator[Json]:
        """Every run that fits, page by page."""
        cursor: str | None = None
        while True:
            page = self.runs(cursor=cursor, **query)
            yield from page["items"]
            cursor = page.get("next_cursor")
            if not cursor:
                return

    def run(self, run_id: str) -> Json:
        """The run."""
        return self._json("GET", f"runs/{run_id}")

    def find(self, reference: str) -> Json:
        """The run that an id, its unique beginning, or its number names. Raises BadInput when none or several do."""
        reference = reference.removeprefix("#")
        try:
            return self.run(reference)
        except Refused as error:
            if error.status not in (404, 422):
                raise
        number = int(reference) if reference.isdecimal() else None
        prefix = reference if reference.startswith("r_") else f"r_{reference}"
        found = [r for r in self.iter_runs(limit=200) if r.get("number") == number or r["id"].startswith(prefix)]
        exact = [r for r in found if r.get("number") == number]
        if len(exact or found) == 1:
            return self.run((exact or found)[0]["id"])
        if not found:
            raise BadInput(f"No run {reference!r}. `laser runs` lists them.")
        raise BadInput(
            f"{reference!r} fits {len(found)} runs: {', '.join(r['id'] for r in found[:5])}. Give more letters."
        )

    def wait(self, run_id: str, timeout_s: float | None = None, poll_s: float = 0.5) -> Json:
        """The run once it has ended. Raises TimeoutError after ``timeout_s``."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while (run := self.run(run_id))["state"] not in FINAL_STATES:
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"{run_id} is still {run['state']} after {timeout_s} s")
            time.sleep(poll_s)
        return run

    def cancel(self, run_id: str) -> Json:
        """Asks for the run to stop; it answers at its next heartbeat."""
        return self._json("POST", f"runs/{run_id}/cancel")

    def pause(self, run_id: str) -> Json:
        """Asks for the run to stop with a checkpoint and wait; it answers at its next heartbeat."""
        return self._json("POST", f"runs/{run_id}/pause")

    def resume(self, run_id: str) -> Json:
        """Puts a paused run back in the queue."""
        return self._json("POST", f"runs/{run_id}/resume")

    def clone(
        self, run_id: str, changes: Mapping[str, Any] | None = None, *, checkout: bool = True, **asked: Any
    ) -> Json:
        """A new run of the same configuration with ``changes``: a JSON merge patch, in which a new ``kind`` starts afresh.
        The rest is as of ``submit``."""
        body = with_checkout(changes or {}, checkout)
        return self._json("POST", f"runs/{run_id}/clone", json=body, params=given(asked))

    def change(self, run_id: str, **changes: Any) -> Json:
        """The run with other ``add_tags``, ``remove_tags`` (lists) or ``note`` (Markdown)."""
        return self._json("PATCH", f"runs/{run_id}", json=changes)

    def delete(self, run_id: str) -> None:
        """Deletes an ended run and its files."""
        self._request("DELETE", f"runs/{run_id}")

    # --- what runs left --------------------------------------------------------------------------------------------

    def metrics(self, run_id: str, keys: Sequence[str] = ()) -> Curves:
        """Every point of a run's metrics (or those named) as numpy arrays, exactly as measured."""
        from client.curves import from_csv  # loads numpy: a fifth of a second, which no command needs to wait for

        return from_csv(self.metrics_csv(run_id, keys))

    def series(
        self, run_id: str, keys: Sequence[str] = (), points: int = 1000, after_step: int | None = None
    ) -> dict[str, Json]:
        """Curves by metric name, each {steps, values, count}, thinned by the server to ``points`` with extremes kept."""
        query = given({"keys": ",".join(keys), "points": points, "after_step": after_step})
        return {series["key"]: series for series in self._json("GET", f"runs/{run_id}/metrics", params=query)["series"]}

    def metrics_csv(self, run_id: str, keys: Sequence[str] = ()) -> Iterator[str]:
        """All points as CSV text, in pieces."""
        with self._stream("GET", f"runs/{run_id}/metrics.csv", params=given({"keys": ",".join(keys)})) as response:
            yield from response.iter_text()

    def traces(self, run_id: str, site: str | None = None, after_step: int | None = None) -> list[Json]:
        """Every site's subspace history."""
        query = given({"site": site, "after_step": after_step})
        return list(self._json("GET", f"runs/{run_id}/traces", params=query)["sites"])

    def memory(self, run_id: str) -> Json:
        """The latest measurement of bytes held between forward and backward, by site."""
        return self._json("GET", f"runs/{run_id}/memory")

    def inspection(self, run_id: str) -> Json:
        """What a run of kind inspect found: {question, solution, readings, path, …}."""
        return self._json("GET", f"runs/{run_id}/inspection")

    def events(self, run_id: str, after: int = 0, limit: int = 1000) -> list[Json]:
        """Events {seq, time, kind, epoch, data} with ``seq`` above ``after``."""
        return list(self._json("GET", f"runs/{run_id}/events", params={"after": after, "limit": limit})["items"])

    def environments(self, run_id: str) -> list[Json]:
        """What every attempt ran with: {epoch, time, device, versions, environment …}."""
        return items(self._json("GET", f"runs/{run_id}/environments"))

    def checkout(self, run_id: str) -> Json:
        """What it was submitted from: {details: {commit, branch, changed, left_out_files …}, diff}."""
        return self._json("GET", f"runs/{run_id}/checkout")

    def checkout_diff(self, run_id: str) -> bytes:
        """The changes to that commit, byte for byte as ``git apply`` takes them."""
        return self._request("GET", f"runs/{run_id}/checkout.diff").content

    def logs(self, run_id: str, after: int = 0, limit: int = 1000) -> list[Json]:
        """Log lines, as events."""
        return list(self._json("GET", f"runs/{run_id}/logs", params={"after": after, "limit": limit})["items"])

    def compare(self, run_ids: Sequence[str]) -> Json:
        """Groups by store variant, pairs by seed and a ``summary`` sentence."""
        return self._json("GET", "compare", params={"run": list(run_ids)})

    def artifacts(self, run_id: str) -> list[Json]:
        """Files that the run left."""
        return items(self._json("GET", f"runs/{run_id}/artifacts"))

    def download(self, artifact_id: str, path: Path) -> int:
        """Saves an artifact at ``path``, whole or not at all; its size in bytes. Raises BadInput where its sha256 isn't the
        one that the platform has noted."""
        with self._stream("GET", f"artifacts/{artifact_id}") as response:
            return save_whole(response, path)

    def download_files(self, run_id: str, to: Path, every: bool = False) -> list[Json]:
        """Saves the files of a run's newest checkpoint (or all that are kept) under ``to``, in a folder of the run with one
        per checkpoint: {path, size_bytes, sha256} of each. Raises BadInput where there are none."""
        artifacts = [a for a in self.artifacts(run_id) if a["size_bytes"] is not None]
        if not artifacts:
            raise BadInput(f"Run {run_id} has no files yet.")
        newest = artifacts[0]["folder"]
        return [self._save(a, to / run_id) for a in artifacts if every or a["folder"] == newest]

    def _save(self, artifact: Json, directory: Path) -> Json:
        # Names come from the server: their last part only, so that none leads out of the directory.
        folder = directory / Path(artifact["folder"]).name
        path = folder / Path(artifact["name"]).name
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadInput(f"{folder} can't be made: {error.strerror or error}") from error
        return {"path": str(path), "size_bytes": self.download(artifact["id"], path), "sha256": artifact["sha256"]}

    def export_table(self, run_id: str, name: str, path: Path) -> int:
        """Saves ``metrics.csv``, ``metrics.parquet``, ``traces.csv`` or ``traces.parquet``, whole or not at all; its size in
        bytes."""
        with self._stream("GET", f"runs/{run_id}/{name}") as response:
            return save_whole(response, path)

    def export_archive(self, run_id: str, path: Path) -> int:
        """Saves the whole run, which has ended, as one zip file, whole or not at all; its size in bytes."""
        with self._stream("GET", f"runs/{run_id}/archive") as response:
            return save_whole(response, path)

    def import_archive(self, path: Path) -> Json:
        """The run that an archive of another installation holds, as one's own; the same archive again gives the same run."""
        try:
            with path.open("rb") as file:
                return self._json("POST", "runs/import", content=file, headers={"Content-Type": "application/zip"})
        except OSError as error:
            raise BadInput(f"{path} can't be read: {error.strerror or error}") from error

    def stream(self, run_id: str | None = None, after: str | int | None = None) -> Iterator[Message]:
        """Server-sent events as they happen, endlessly; a lost connection goes on after the last event seen."""
        last = "" if after is None else str(after)
        failures = 0
        while True:
            try:
                for message in self._stream_once(run_id, last):
                    last, failures = message.id or last, 0
                    yield message
            except httpx.TransportError as error:
                failures += 1
                if failures > 5:
                    raise Unreachable(self.url, str(error)) from error
            time.sleep(min(5.0, 0.2 * 2**failures))

    def _stream_once(self, run_id: str | None, last: str) -> Iterator[Message]:
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last} if last else {})
        timeout = httpx.Timeout(10.0, read=STREAM_SILENCE_S)
        query = {"run": run_id} if run_id else {}
        with self._http.stream("GET", "stream", params=query, headers=headers, timeout=timeout) as response:
            require_success(response)
            yield from parse(response.iter_lines())

    def save_view(self, name: str, **view: Any) -> Json:
        """Keeps ``filter``, ``sort`` and ``columns`` of the run list under a name; ``get("views")`` lists them."""
        return self._json("POST", "views", json={"name": name, **view})

    def delete_view(self, view_id: str) -> None:
        """Forgets a view."""
        self._request("DELETE", f"views/{view_id}")

    # --- webhooks --------------------------------------------------------------------------------------------------

    def add_webhook(self, url: str, events: Sequence[str] = (), filter: str = "") -> Json:
        """{webhook, secret}; the secret is told this once. Without ``events`` it is told of all."""
        return self._json("POST", "webhooks", json=given({"url": url, "events": list(events), "filter": filter}))

    def webhooks(self) -> list[Json]:
        """One's own."""
        return items(self.get("webhooks"))

    def enable_webhook(self, webhook_id: str) -> Json:
        """Lets a webhook go on that was disabled."""
        return self._json("POST", f"webhooks/{quote(webhook_id, safe='')}/enable")

    def test_webhook(self, webhook_id: str) -> Json:
        """A delivery of the event "test", on its way; ``deliveries`` tells how it went."""
        return self._json("POST", f"webhooks/{quote(webhook_id, safe='')}/test")

    def deliveries(self, webhook_id: str) -> list[Json]:
        """What was sent to a webhook and what waits, newest first."""
        return items(self.get(f"webhooks/{quote(webhook_id, safe='')}/deliveries"))

    def delete_webhook(self, webhook_id: str) -> None:
        """Forgets a webhook, with what waits to be sent to it."""
        self._request("DELETE", f"webhooks/{quote(webhook_id, safe='')}")

    # --- datasets --------------------------------------------------------------------------------------------------

    def add_dataset(self, path: Path, name: str = "") -> Json:
        """Uploads a puzzle file, named after the file unless told; the same content again gives the same dataset."""
        try:
            with path.open("rb") as file:
                files = {"file": (path.name, file, "text/csv")}
                return self._json("POST", "datasets", params=given({"name": name}), files=files)
        except OSError as error:
            raise BadInput(f"{path} can't be read: {error.strerror or error}") from error

    def datasets(self) -> list[Json]:
        """All datasets."""
        return items(self._json("GET", "datasets"))

    def dataset(self, reference: str) -> Json:
        """A dataset by id or name."""
        return self._json("GET", f"datasets/{reference}")

    def dataset_preview(self, reference: str, rows: int = 5) -> list[Json]:
        """Its first puzzles {source, question, answer, rating}."""
        return items(self._request("GET", f"datasets/{reference}/preview", params={"rows": rows}).json())

    def delete_dataset(self, reference: str) -> None:
        """Deletes a dataset that no run uses."""
        self._request("DELETE", f"datasets/{reference}")

    # --- users -----------------------------------------------------------------------------------------------------

    def users(self) -> list[Json]:
        """All users; this and the next two are for admins."""
        return items(self.get("users"))

    def add_user(self, name: str, role: str = "member") -> Json:
        """A new user, who needs a login link or token to come in."""
        return self._json("POST", "users", json={"name": name, "role": role})

    def change_user(self, user: str, changes: Mapping[str, Any]) -> Json:
        """Changes {role, disabled} of a user, by name or id."""
        return self._json("PATCH", f"users/{quote(user, safe='')}", json=dict(changes))

    def create_token(self, name: str, scope: str = "read", ttl_days: int = 90, user: str = "") -> Json:
        """{token, secret}; the secret is told this once."""
        return self._json(
            "POST", "tokens", json=given({"name": name, "scope": scope, "ttl_days": ttl_days, "user": user})
        )

    def tokens(self, user: str = "") -> list[Json]:
        """Tokens and browser sessions, without their secrets."""
        return items(self._json("GET", "tokens", params=given({"user": user})))

    def revoke_token(self, token_id: str) -> None:
        """Ends a token or session at once."""
        self._request("DELETE", f"tokens/{quote(token_id, safe='')}")

    def audit(self, limit: int = 50, before: int | None = None) -> Json:
        """{items, next_before}: who did what, newest first; for admins."""
        return self._json("GET", "audit", params=given({"limit": limit, "before": before}))

    # --- the platform ----------------------------------------------------------------------------------------------

    def get(self, path: str) -> Any:
        """JSON of any other address under /api/v1, such as ``schema/run`` or ``workers``."""
        return self._request("GET", path).json()

    def presets(self) -> list[Json]:
        """Named configurations to start from."""
        return items(self.get("presets"))

    def workers(self) -> list[Json]:
        """Workers known to the platform."""
        return items(self.get("workers"))

    def drain(self, worker_id: str, drained: bool = True) -> Json:
        """Lets a worker give its runs back and take nothing new, or take runs again; for admins."""
        return self._json("POST", f"workers/{quote(worker_id, safe='')}/{'drain' if drained else 'undrain'}")

    def login_url(self, user: str = "") -> str:
        """An address that logs one browser in, once; one's own, or as an admin another user's."""
        url = str(self._json("POST", "login-codes", json=given({"user": user}))["url"])
        return url if "://" in url else self.url + url

    def is_up(self) -> bool:
        """Whether a platform answers."""
        try:
            return self._http.get("health", timeout=2.0).is_success
        except httpx.HTTPError:
            return False
