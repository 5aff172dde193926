"""Every table. Times are seconds since 1970 (UTC); other tables refer to a run by its number.

Columns hold plain types that mean the same on SQLite and PostgreSQL; a migration goes with every change here.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Column, ForeignKey, Index, Table

from store.columns import Json, Number, PackedJson, Time, run_column
from store.columns import metadata as metadata

users = Table(
    "users",
    metadata,
    Column("id", sa.String(40), primary_key=True),
    Column("name", sa.String(120), nullable=False, unique=True),
    Column("role", sa.String(20), nullable=False),
    Column("created_at", Time, nullable=False),
    Column("shares", sa.Double, nullable=False, server_default="1"),  # of the pool, beside those of the others
    Column(
        "usage", sa.Double, nullable=False, server_default="0"
    ),  # slot-seconds of charged attempts, as worth at usage_at
    Column("usage_at", Time, nullable=False, server_default="0"),
    Column("most_running", sa.Integer, nullable=False, server_default="0"),  # 0: the policy's own limit
    Column("disabled_at", Time),
    Column("subject", sa.String(500)),  # "issuer|sub" of who logs in through OpenID Connect
    Index("ix_users_subject", "subject", unique=True),
)

secrets = Table(
    "secrets",
    metadata,
    Column("id", sa.String(40), primary_key=True),
    Column("user_id", sa.String(40), ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("kind", sa.String(20), nullable=False),  # token, session, code
    Column("sha256", sa.String(64), nullable=False, unique=True),
    Column("scope", sa.String(20), nullable=False),
    Column("created_at", Time, nullable=False),
    Column("expires_at", Time),
    Column("used_at", Time),  # a code is spent by its first use
    Column("name", sa.String(120), nullable=False, server_default=""),  # what its owner calls it
    Column("opened_with", sa.String(40), index=True),  # a session's token, which it ends with
)

audit = Table(
    "audit",
    metadata,
    Column("number", Number, primary_key=True, autoincrement=True),
    Column("time", Time, nullable=False),
    Column("user_id", sa.String(40), ForeignKey("users.id")),  # who did it
    Column("action", sa.String(40), nullable=False),  # store.audit.Action
    Column("object_id", sa.String(200), nullable=False),
    Column("outcome", sa.String(20), nullable=False),  # done, refused
    Column("detail", sa.Text, nullable=False),
    sqlite_autoincrement=True,  # a number never comes back
)

runs = Table(
    "runs",
    metadata,
    Column("number", Number, primary_key=True, autoincrement=True),
    Column("id", sa.String(40), nullable=False, unique=True),
    Column("owner_id", sa.String(40), ForeignKey("users.id"), nullable=False),
    Column("idempotency_key", sa.String(200)),
    Column("name", sa.String(240), nullable=False),
    Column("kind", sa.String(20), nullable=False),
    Column("store_kind", sa.String(40), nullable=False),  # empty but for training
    Column("seed", sa.BigInteger, nullable=False),
    Column("config", PackedJson, nullable=False),
    Column("config_hash", sa.String(64), nullable=False, index=True),
    Column("schema_version", sa.Integer, nullable=False),
    Column("content", sa.String(64), index=True),  # of an inspection: inspections.content_of
    Column(
        "source", Number, ForeignKey("runs.number", ondelete="SET NULL"), index=True
    ),  # whose checkpoint an eval or analysis reads
    Column("band", sa.Integer, nullable=False, server_default="1"),  # policy.BANDS
    Column(
        "pool", sa.String(40), nullable=False, server_default=""
    ),  # a label that its worker must have; empty for any
    Column("gpus", sa.Integer, nullable=False, server_default="1"),  # devices of one worker that it needs
    Column("time_limit_s", Time),  # of being carried out, over all attempts; NULL for none
    Column("memory_asked", sa.BigInteger),  # bytes on its device, on each of several, where its owner said
    Column("memory", sa.BigInteger, nullable=False, server_default="0"),  # bytes to start with: asked, guessed or grown
    Column("memory_held", sa.BigInteger),  # bytes reserved for it, once it was claimed
    Column("memory_peak", sa.BigInteger),  # bytes measured, once it had got going
    Column("memory_grown", sa.Boolean, nullable=False, server_default=sa.false()),  # it outgrew what it had
    Column("device", sa.Text),  # devices.uid of those it was last on, between blanks
    Column("state", sa.String(20), nullable=False),
    Column("state_since", Time, nullable=False),
    Column("reason", sa.Text, nullable=False, server_default=""),
    Column("epoch", sa.Integer, nullable=False, server_default="0"),  # fencing token: one more with every claim
    Column("preempted", sa.Integer, nullable=False, server_default="0"),  # the epoch that was asked to make way
    Column("lost", sa.Integer, nullable=False, server_default="0"),  # workers lost since the last checkpoint
    Column("worker_id", sa.String(120)),
    Column("lease_until", Time),
    Column("checkpoint", sa.String(120)),  # folder name of the newest
    Column("checkpoint_step", sa.BigInteger),
    Column("step", sa.BigInteger, nullable=False, server_default="0"),
    Column("steps", sa.BigInteger, nullable=False, server_default="0"),
    Column("step_time_s", Time),
    Column("result", Json),
    Column("note", sa.Text, nullable=False, server_default=""),  # Markdown
    Column("imported_from", Json),
    Column("last_seq", sa.BigInteger, nullable=False, server_default="0"),  # of its events
    Column("created_at", Time, nullable=False),
    Column("started_at", Time),
    Column("finished_at", Time),
    Column("updated_at", Time, nullable=False),
    sa.UniqueConstraint("owner_id", "idempotency_key"),
    Index(None, "state", "number"),
    Index(None, "owner_id", "number"),
    Index(None, "state", "band", "owner_id", "number"),
    Index(None, "store_kind", "number"),
    Index(None, "kind", "number"),
    Index(None, "name", "number"),
    Index(None, "updated_at", "number"),
    Index(None, "created_at", "number"),
    Index(None, "lease_until"),
    sqlite_autoincrement=True,  # a deleted run's number never comes back
)

run_tags = Table(
    "run_tags",
    metadata,
    run_column(primary_key=True),
    Column("tag", sa.String(40), primary_key=True),
    Index(None, "tag", "run"),
)

# What a user calls a filter with its order and columns.
views = Table(
    "views",
    metadata,
    Column("id", sa.String(40), primary_key=True),
    Column("owner_id", sa.String(40), ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("name", sa.String(80), nullable=False),
    Column("filter", sa.Text, nullable=False),
    Column("sort", sa.String(140), nullable=False),
    Column("columns", Json, nullable=False),
    sa.UniqueConstraint("owner_id", "name"),
)

# What is asked of a group of runs; the configuration, its margin too, is never changed.
experiments = Table(
    "experiments",
    metadata,
    Column("number", Number, primary_key=True, autoincrement=True),
    Column("id", sa.String(40), nullable=False, unique=True),
    Column("owner_id", sa.String(40), ForeignKey("users.id"), nullable=False),
    Column("idempotency_key", sa.String(200)),
    Column("name", sa.String(120), nullable=False),
    Column("config", Json, nullable=False),
    Column("planned", sa.Integer, nullable=False),  # runs that were made; some may have been deleted since
    Column("created_at", Time, nullable=False),
    Column("decided_at", Time),  # when webhooks were told that all its runs have ended
    sa.UniqueConstraint("owner_id", "idempotency_key"),
    Index(None, "decided_at", "number"),
    sqlite_autoincrement=True,
)

experiment_runs = Table(
    "experiment_runs",
    metadata,
    run_column(primary_key=True),
    Column("experiment", Number, ForeignKey("experiments.number", ondelete="CASCADE"), nullable=False, index=True),
    Column("variant", sa.String(120), nullable=False),
    Column("point", sa.Text, nullable=False),  # of the sweep; empty without one
)

waits = Table(
    "waits",
    metadata,
    run_column(primary_key=True),
    Column("other", Number, ForeignKey("runs.number", ondelete="CASCADE"), primary_key=True, index=True),
    Column("needs", sa.String(20), nullable=False),  # waits.Needs
)

attempts = Table(
    "attempts",
    metadata,
    run_column(primary_key=True),
    Column("epoch", sa.Integer, primary_key=True),
    Column("worker_id", sa.String(120), nullable=False),
    Column("started_at", Time, nullable=False),
    Column("ended_at", Time),
    Column("outcome", sa.Text),
    Column("spool_offset", sa.BigInteger, nullable=False, server_default="0"),  # bytes of its spool ingested
    Column("is_charged", sa.Boolean, nullable=False, server_default=sa.true(), index=True),  # counted in users.usage
)

events = Table(
    "events",
    metadata,
    run_column(primary_key=True),
    Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    Column("time", Time, nullable=False),
    Column("kind", sa.String(20), nullable=False),
    Column("epoch", sa.Integer, nullable=False),
    Column("data", Json, nullable=False),
    Index(None, "run", "kind", "seq"),
)

# One row per metric of a run: its newest value, for sorting and filtering, and where its last chunk starts.
series = Table(
    "series",
    metadata,
    run_column(primary_key=True),
    Column("key", sa.String(120), primary_key=True),
    Column("points", sa.BigInteger, nullable=False),
    Column("step", sa.BigInteger, nullable=False),
    Column("value", sa.Double),  # NULL for NaN: SQLite has no NaN and the two databases sort it differently
    Column("tail_step", sa.BigInteger, nullable=False),
    Column("tail_points", sa.Integer, nullable=False),
    Index(None, "key", "value", "run"),
)

# Points packed as little-endian arrays: int64 steps, float64 values. The summary holds the first and last point and the
# extremes of every 64, so that a chart of a long series needs no more (docs/decisions/0004-metric-storage.md).
chunks = Table(
    "chunks",
    metadata,
    run_column(primary_key=True),
    Column("key", sa.String(120), primary_key=True),
    Column("first_step", sa.BigInteger, primary_key=True, autoincrement=False),
    Column("last_step", sa.BigInteger, nullable=False),
    Column("points", sa.Integer, nullable=False),
    Column("packed_steps", sa.LargeBinary, nullable=False),
    Column("packed_values", sa.LargeBinary, nullable=False),
    Column("summary_steps", sa.LargeBinary, nullable=False),
    Column("summary_values", sa.LargeBinary, nullable=False),
)

traces = Table(
    "traces",
    metadata,
    run_column(primary_key=True),
    Column("site", sa.String(120), primary_key=True),
    Column("number", sa.BigInteger, primary_key=True, autoincrement=False),  # Trace.update; UPDATE is SQL's
    Column("step", sa.BigInteger, nullable=False),
    Column("event", sa.String(20), nullable=False),
    Column("rank", sa.Integer, nullable=False),
    Column("width", sa.Integer, nullable=False),
    Column("fidelity", sa.Double),
    Column("drift", sa.Double),
    Column("saved_bytes", sa.BigInteger, nullable=False),
    Column("energies", sa.LargeBinary, nullable=False),  # float32, little-endian
    Column("step_fidelities", sa.LargeBinary),  # by recursion step, float32, little-endian
)

datasets = Table(
    "datasets",
    metadata,
    Column("id", sa.String(40), primary_key=True),
    Column("name", sa.String(120), nullable=False, unique=True),
    Column("owner_id", sa.String(40), ForeignKey("users.id")),
    Column("sha256", sa.String(64), nullable=False),
    Column("rows", sa.BigInteger, nullable=False),
    Column("size", sa.Integer, nullable=False),
    Column("size_bytes", sa.BigInteger, nullable=False),
    Column("created_at", Time, nullable=False),
)

run_datasets = Table(
    "run_datasets",
    metadata,
    run_column(primary_key=True),
    Column("name", sa.String(500), primary_key=True),  # as the run's configuration says it
    Column("dataset_id", sa.String(40), ForeignKey("datasets.id"), nullable=False, index=True),
)

# What a run was submitted from: git's commit and the changes since.
checkouts = Table(
    "checkouts",
    metadata,
    Column("id", sa.String(64), primary_key=True),  # sha256 of the rest
    Column("facts", Json, nullable=False),  # checkouts.Checkout
    Column("names", Json, nullable=False),  # of files that aren't in the difference
    Column("diff", sa.LargeBinary, nullable=False),  # deflated
)

run_checkouts = Table(
    "run_checkouts",
    metadata,
    run_column(primary_key=True),
    Column("checkout", sa.String(64), ForeignKey("checkouts.id"), nullable=False, index=True),
)

artifacts = Table(
    "artifacts",
    metadata,
    Column("id", sa.String(40), primary_key=True),
    run_column(index=True),
    Column("kind", sa.String(20), nullable=False),
    Column("folder", sa.String(120), nullable=False),
    Column("name", sa.String(120), nullable=False),
    Column("epoch", sa.Integer, nullable=False, server_default="0"),  # of the attempt that saved it
    Column("step", sa.BigInteger, nullable=False),
    Column("sha256", sa.String(64), nullable=False),
    Column("created_at", Time, nullable=False),
    sa.UniqueConstraint("run", "kind", "folder", "name"),
)

workers = Table(
    "workers",
    metadata,
    Column("id", sa.String(120), primary_key=True),
    Column("host", sa.String(255), nullable=False),
    Column("pid", sa.BigInteger, nullable=False),
    Column("slots", sa.Integer, nullable=False),
    Column("device", sa.String(120), nullable=False),
    Column("version", sa.String(40), nullable=False),
    Column("pools", sa.String(500), nullable=False, server_default=""),  # its labels, between blanks
    Column("schema", sa.String(40), nullable=False, server_default=""),  # revision that its code needs
    Column("drained_at", Time),  # since when it takes nothing new
    Column("unable", sa.String(300), nullable=False, server_default=""),  # why it takes nothing, in words
    Column("started_at", Time, nullable=False),
    Column("seen_at", Time, nullable=False, index=True),
)

devices = Table(
    "devices",
    metadata,
    Column("worker", sa.String(120), ForeignKey("workers.id", ondelete="CASCADE"), primary_key=True),
    Column("uid", sa.String(200), primary_key=True),  # the same for all workers that share it
    Column("name", sa.String(120), nullable=False),
    Column("memory_bytes", sa.BigInteger, nullable=False),  # 0 where it isn't accounted
    Column("used_bytes", sa.BigInteger, nullable=False),  # 0 where the driver doesn't tell
)

leaders = Table(
    "leaders",
    metadata,
    Column("name", sa.String(120), primary_key=True),
    Column("holder", sa.String(120), nullable=False),
    Column("until", Time, nullable=False),
)

webhooks = Table(
    "webhooks",
    metadata,
    Column("id", sa.String(40), primary_key=True),
    Column("owner_id", sa.String(40), ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("url", sa.String(2000), nullable=False),
    Column("secret", sa.String(80), nullable=False),  # as it is: it signs
    Column("events", Json, nullable=False),  # webhooks.EventKind
    Column("filter", sa.Text, nullable=False),
    Column("created_at", Time, nullable=False),
    Column("failures", sa.Integer, nullable=False, server_default="0"),  # attempts in a row
    Column("disabled_at", Time),
    Column("disabled_why", sa.Text, nullable=False, server_default=""),
)

# What became of runs whose owner has a webhook; gone once it is deliveries.
happenings = Table(
    "happenings",
    metadata,
    Column("number", Number, primary_key=True, autoincrement=True),
    run_column(index=True),
    Column("event", sa.String(40), nullable=False),
    Column("time", Time, nullable=False),
    Column("reason", sa.Text, nullable=False),
    sqlite_autoincrement=True,
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("number", Number, primary_key=True, autoincrement=True),
    Column("id", sa.String(40), nullable=False, unique=True),
    Column("webhook", sa.String(40), ForeignKey("webhooks.id", ondelete="CASCADE"), nullable=False),
    Column("event", sa.String(40), nullable=False),
    Column("body", sa.Text, nullable=False),
    Column("created_at", Time, nullable=False),
    Column("attempts", sa.Integer, nullable=False, server_default="0"),
    Column("next_at", Time, index=True),  # NULL once it is delivered or given up
    Column("delivered_at", Time),
    Column("answer", sa.Text, nullable=False, server_default=""),  # to the last attempt
    Index(None, "webhook", "number"),
    sqlite_autoincrement=True,
)
