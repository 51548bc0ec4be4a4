"""The one place where configuration comes from.

Order: environment (`AI_ASSETS_…`) > `settings.toml` in the home > defaults. Nothing else in the product reads the
environment. `Settings` says what is configured; `Home` says where things lie; what a setting does belongs to its user.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

DEFAULT_HOME = ".ai-assets"


@dataclass(frozen=True)
class Home:
    """Folders of one home. Two homes never meet; a home copied elsewhere works there (no absolute path is stored)."""

    root: Path

    @property
    def landing_audio(self) -> Path:
        return self.root / "landing" / "audio"

    @property
    def landing_events(self) -> Path:
        return self.root / "landing" / "events"

    @property
    def landing_scores(self) -> Path:
        return self.root / "landing" / "scores"

    @property
    def landing_covers(self) -> Path:
        return self.root / "landing" / "covers"

    @property
    def lake(self) -> Path:
        return self.root / "lake"

    @property
    def blobs(self) -> Path:
        return self.root / "blobs"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def indices(self) -> Path:
        return self.root / "indices"

    @property
    def dagster(self) -> Path:
        return self.root / "dagster"

    @property
    def mlflow(self) -> Path:
        return self.root / "mlflow"

    @property
    def audit(self) -> Path:
        return self.root / "audit"

    @property
    def traces(self) -> Path:
        return self.root / "traces"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def locks(self) -> Path:
        return self.root / "locks"

    @property
    def secrets(self) -> Path:
        return self.root / "secrets"

    @property
    def truth(self) -> Path:
        """Ground truth of the synthesised sample library: for evaluation only, never an input of a model."""
        return self.root / "sample-truth"

    @property
    def database(self) -> Path:
        return self.root / "platform.db"

    def make(self) -> None:
        """Create every folder. Raises OSError (naming the folder) where that is not possible."""
        for folder in (
            self.landing_audio, self.landing_events, self.landing_scores, self.landing_covers, self.lake, self.blobs,
            self.cache, self.indices, self.dagster, self.mlflow, self.audit, self.traces, self.logs, self.locks,
        ):  # fmt: skip
            folder.mkdir(parents=True, exist_ok=True)
        self.secrets.mkdir(parents=True, exist_ok=True)
        self.secrets.chmod(0o700)


class Settings(BaseSettings):
    """Everything a user may configure. Field names are the variables' names without `AI_ASSETS_`, in lower case."""

    # Errors name the setting and what was expected, never the value: it may be a password.
    model_config = SettingsConfigDict(
        env_prefix="AI_ASSETS_", extra="forbid", frozen=True, env_ignore_empty=True, hide_input_in_errors=True
    )

    home: Path = Field(default=Path(DEFAULT_HOME), description="Folder in which all data of this platform lies.")
    database_url: SecretStr | None = Field(
        default=None, description="Platform database; SQLite in the home when not set, else postgresql+psycopg2://…"
    )
    redis_url: SecretStr | None = Field(default=None, description="Redis for the event stream and worker leases.")
    broker_url: SecretStr | None = Field(default=None, description="Celery broker (redis:// or amqp://).")
    executor: Literal["in_process", "celery"] = Field(
        default="in_process", description="Where steps work: in their run's process, or on Celery workers."
    )
    worker_key: SecretStr | None = Field(
        default=None, description="Key that signs messages to workers; made once in the home's secrets when not set."
    )
    unsigned_tasks: Literal["refuse", "accept"] = Field(
        default="refuse", description="What workers do with tasks that other programs send without a signature."
    )
    lake_uri: str | None = Field(
        default=None, description="Where tables lie; a folder in the home, or s3://bucket/path."
    )
    lake_storage_options: dict[str, str] = Field(
        default_factory=dict,
        repr=False,
        description="Options of the object store (endpoint, region, …), as delta-rs names them.",
    )
    listener_key: SecretStr | None = Field(
        default=None, description="Key of the listeners' pseudonyms; made once in the home's secrets when not set."
    )
    ui_port: int = Field(
        default=3000, ge=1, le=65535, description="Port of the Dagster UI; the next free one is taken."
    )
    mlflow_port: int = Field(
        default=5000, ge=1, le=65535, description="Port of the MLflow UI; the next free one is taken."
    )
    api_token: SecretStr | None = Field(default=None, description="Bearer token of the HTTP API.")
    api_rate_limit: int = Field(default=1000, ge=0, description="Requests per second and token; 0 = no limit.")
    ui_tokens: dict[str, Literal["viewer", "operator", "admin"]] = Field(
        default_factory=dict, repr=False, description='Tokens of the UI with their roles: {"TOKEN": "viewer"}.'
    )
    workers: int | None = Field(
        default=None, ge=1, description="Worker processes of audio analysis (default: all cores)."
    )
    max_audio_seconds: float = Field(default=4 * 3600, gt=0, description="Longest audio file that is analysed.")
    max_file_bytes: int = Field(default=4 * 2**30, gt=0, description="Largest file that is opened.")
    sensor_seconds: int = Field(default=5, ge=1, description="Interval of the sensors and of the automation.")
    settle_seconds: float = Field(
        default=3, ge=0, description="A dropped file is taken once its size and time stood still for so long."
    )
    otlp_endpoint: str | None = Field(
        default=None, description="OpenTelemetry collector; a file in the home when not set."
    )
    alert_webhook_url: SecretStr | None = Field(default=None, description="Where alerts are delivered.")
    alert_webhook_key: SecretStr | None = Field(
        default=None, description="Key that signs delivered alerts (HMAC-SHA-256)."
    )
    alert_smtp_url: SecretStr | None = Field(
        default=None, description="Mail server for alerts: smtp+starttls://USER:PASSWORD@HOST:587, smtps:// or smtp://."
    )
    alert_mail_to: str = Field(default="", description="Where alerts are mailed to; several with commas.")
    alert_mail_from: str = Field(default="", description="Sender of mailed alerts (default: the first recipient).")
    canary: bool = Field(default=False, description="A known piece and listener walk the whole way every hour.")
    retrain_events: int = Field(
        default=20_000, ge=1, description="New events after which listening models are retrained."
    )
    retrain_drift: float = Field(
        default=0.25, gt=0, description="Population stability index since the last training at which models retrain."
    )
    training_processes: int = Field(
        default=1, ge=1, le=64, description="Processes per machine that train the listening model together."
    )
    training_nodes: int = Field(default=1, ge=1, description="Machines that train together; each other one joins in.")
    training_rendezvous: str = Field(
        default="localhost:0", description="HOST:PORT where the machines of a training meet (0 = any free port)."
    )
    training_seconds: float = Field(default=3_600, gt=0, description="Longest distributed training or tuning.")
    tuning_workers: int = Field(default=2, ge=1, le=64, description="Worker processes of a tuning study.")
    preset: Literal["full", "demo", "tiny"] = Field(
        default="full", description="How long the content generators train, in fixed steps (demo and tiny are shorter)."
    )
    review: Literal["auto", "manual"] = Field(
        default="manual", description="Whether generated items whose checks passed are published without a person."
    )
    cover_font: Path | None = Field(
        default=None, description="Font file (.ttf, .otf) of the lettering on covers; DejaVu Sans Bold when not set."
    )
    pretrained_text: Path | None = Field(default=None, description="Folder of a causal language model (safetensors).")
    pretrained_cover: Path | None = Field(
        default=None, description="Folder of a Stable Diffusion pipeline (diffusers)."
    )
    pretrained_music: Path | None = Field(default=None, description="Folder of a MusicGen model (transformers).")
    pretrained_seconds: float = Field(
        default=1800, gt=0, description="Longest time for one batch of a pretrained model; then it is stopped."
    )

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(("sqlite:///", "postgresql+psycopg2://")):
            raise ValueError("expected sqlite:///PATH or postgresql+psycopg2://USER:PASSWORD@HOST:PORT/NAME")
        return value

    @field_validator("alert_smtp_url")
    @classmethod
    def _known_mail_server(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            parts = urlsplit(value.get_secret_value())
            if parts.scheme not in ("smtp", "smtp+starttls", "smtps") or not parts.hostname:
                raise ValueError("expected smtp+starttls://, smtps:// or smtp:// and [USER:PASSWORD@]HOST[:PORT]")
            if parts.username and parts.scheme == "smtp":
                raise ValueError("a password needs smtp+starttls:// or smtps://")
        return value

    @field_validator("lake_uri")
    @classmethod
    def _known_lake(cls, value: str | None) -> str | None:
        if value is not None and "://" in value and not value.startswith(("s3://", "file://")):
            raise ValueError("expected a folder or s3://BUCKET/PATH")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        home = Path(init_settings().get("home") or home_folder(os.environ))
        toml = TomlConfigSettingsSource(settings_cls, toml_file=home / "settings.toml")
        return init_settings, env_settings, toml

    @property
    def places(self) -> Home:
        return Home(self.home)

    @property
    def database(self) -> str:
        """SQLAlchemy URL of the platform database."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.places.database}"

    @property
    def lake_root(self) -> str:
        return (self.lake_uri or str(self.places.lake)).removeprefix("file://")


def home_folder(environment: Mapping[str, str]) -> Path:
    """The home: `AI_ASSETS_HOME`, else the parent of `DAGSTER_HOME`, else `./.ai-assets`; always absolute."""
    if environment.get("AI_ASSETS_HOME"):
        return Path(environment["AI_ASSETS_HOME"]).expanduser().resolve()
    if environment.get("DAGSTER_HOME"):
        return Path(environment["DAGSTER_HOME"]).expanduser().resolve().parent
    return Path.cwd() / DEFAULT_HOME


def load_settings(**overrides: Any) -> Settings:
    """Settings of this process.

    Raises pydantic.ValidationError (a ValueError), which names the setting and what was expected; ValueError for a
    settings.toml that cannot be read.
    """
    home = Path(overrides.pop("home", None) or home_folder(os.environ)).expanduser().resolve()
    try:
        return Settings(home=home, **overrides)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{home / 'settings.toml'} is no TOML: {error}") from None


def setting_sources(settings: Settings) -> dict[str, str]:
    """Where each value came from (`environment`, `settings.toml`, `default`): what `ai-assets doctor` prints."""
    toml = TomlConfigSettingsSource(Settings, toml_file=settings.home / "settings.toml")()
    sources = {}
    for name in Settings.model_fields:
        if os.environ.get(f"AI_ASSETS_{name.upper()}"):
            sources[name] = "environment"
        elif name in toml:
            sources[name] = "settings.toml"
        else:
            sources[name] = "default"
    return sources
