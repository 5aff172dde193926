"""The one place that reads the environment: every variable starts with ``LASER_``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from store.blobs import Blobs, kept_at
from store.policy import Policy

MIB = 2**20
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()


def _sqlite_under_home(values: dict[str, Any]) -> str:
    return f"sqlite:///{values['home'] / 'laser.db'}"


class Settings(BaseSettings):
    """Frozen; built once per process and passed on. ``Settings(home=...)`` in tests overrides the environment."""

    model_config = SettingsConfigDict(env_prefix="LASER_", env_ignore_empty=True, frozen=True, extra="ignore")

    home: Annotated[Path, AfterValidator(_absolute)] = Field(
        default=Path("~/.laser"), validate_default=True, description="Folder of everything the platform keeps."
    )
    database_url: str = Field(
        default_factory=_sqlite_under_home,
        description="SQLite file or postgresql:// server; without it `laser.db` in the home.",
    )
    artifacts_url: str = Field(
        default="",
        pattern=r"^(s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._-]+)*/?)?$",
        description="s3://BUCKET/PREFIX for what runs leave behind and datasets, reached by the AWS_* variables; empty for "
        "folders below the home.",
    )
    broker_url: str = Field(default="", description="Redis, Valkey or RabbitMQ; `laser up` starts one when empty.")
    host: str = Field(default="127.0.0.1", description="Address to serve on; beyond loopback it needs users.")
    allowed_hosts: str = Field(
        default="", description="Names and addresses, between blanks or commas, that browsers may know the service by."
    )
    port: int = Field(default=8420, ge=0, le=65_535, description="Port to serve on; 0 for any that is free.")
    web_dir: Annotated[Path, AfterValidator(_absolute)] = Field(
        default=Path(__file__).parents[1] / "web" / "dist", description="The built web UI, which the API serves."
    )

    oidc_issuer: str = Field(default="", description="https:// address of an OpenID Connect provider; empty for none.")
    oidc_client_id: str = Field(default="", description="What the provider calls this service.")
    oidc_client_secret: SecretStr = Field(default=SecretStr(""), description="Its secret with the provider.")
    oidc_domains: str = Field(
        default="",
        description='E-mail domains, between blanks, whose people become members at their first login; "*" for all.',
    )

    lease_s: float = Field(default=20, gt=0, description="A worker silent for so long has lost its run.")
    heartbeat_s: float = Field(default=5, gt=0, description="Time between two beats of a worker.")
    reconcile_s: float = Field(default=2.5, gt=0, description="Time between two rounds of the reconciler.")
    slots: int = Field(default=1, ge=1, description="Runs that one worker trains at once; and one inspection more.")
    cpu_memory: str = Field(
        default="",
        max_length=500,
        pattern=r"^[\d\s]*$",
        description="MiB of each of a worker's CPU slots, between blanks, which runs share; empty for one without account.",
    )
    max_attempts: int = Field(
        default=3, ge=1, description="Workers that a run may lose between two checkpoints before it fails."
    )

    min_free_mib: int = Field(
        default=512, ge=0, description="MiB that must be free for checkpoints and spools before a worker takes a run."
    )
    artifacts_cache_mib: int = Field(
        default=4096, ge=0, description="MiB of files fetched from LASER_ARTIFACTS_URL that stay on this machine."
    )
    pools: str = Field(
        default="", max_length=500, description="Labels of this worker, between blanks; runs may ask for one of them."
    )
    usage_half_life_s: float = Field(
        default=7 * 86_400, gt=0, description="After so long, use of the pool counts half."
    )
    priority_age_s: float = Field(
        default=3 * 86_400, gt=0, description="Waiting for so long weighs as much as the whole fair share."
    )
    most_running: int = Field(default=0, ge=0, description="Runs of one user that may run at once; 0 for any number.")

    preempt_after_s: float = Field(
        default=0,
        ge=0,
        description="Runs of the low band that were at work for so long make way for higher bands; 0: never.",
    )

    webhook_hosts: str = Field(
        default="",
        description="Names, addresses and networks, between blanks, that webhooks may reach though they are internal "
        '(mattermost.internal 10.1.2.0/24); "*" for all. Equal on the machines of the API and the workers.',
    )
    webhook_retry_s: float = Field(
        default=10, gt=0, description="Wait before a webhook is sent again; every next one is four times as long."
    )

    max_upload_bytes: int = Field(default=64 * MIB, ge=1, description="Most bytes of a puzzle file that is uploaded.")
    max_body_bytes: int = Field(default=MIB, ge=1, description="Most bytes of any other request.")
    max_archive_bytes: int = Field(
        default=4096 * MIB, ge=1, description="Most bytes of an archive that is imported, packed and unpacked."
    )

    @property
    def policy(self) -> Policy:
        return Policy(self.usage_half_life_s, self.priority_age_s, most_running=self.most_running)

    @property
    def is_local(self) -> bool:
        """Whether the service listens on this machine's loopback alone."""
        return self.host.lower().strip("[]") in LOOPBACK

    @property
    def host_names(self) -> frozenset[str]:
        return frozenset(name.lower().strip("[]") for name in self.allowed_hosts.replace(",", " ").split())

    @property
    def cpu_slots(self) -> tuple[int, ...]:
        """Bytes of each."""
        return tuple(int(mib) * MIB for mib in self.cpu_memory.split()) or (0,)

    @property
    def oidc_domain_names(self) -> frozenset[str]:
        return frozenset(self.oidc_domains.lower().replace(",", " ").split())

    @property
    def pool_labels(self) -> tuple[str, ...]:
        return tuple(self.pools.split())

    @property
    def blobs(self) -> Blobs:
        """Where files of runs and datasets are kept."""
        return kept_at(self.artifacts_url, self.home, self.artifacts_cache_mib * MIB)

    @property
    def artifacts_dir(self) -> Path:
        return self.home / "artifacts"

    @property
    def spool_dir(self) -> Path:
        return self.home / "spool"

    @property
    def locks_dir(self) -> Path:
        return self.home / "locks"

    @property
    def datasets_dir(self) -> Path:
        return self.home / "datasets"

    @property
    def token_file(self) -> Path:
        return self.home / "token"
