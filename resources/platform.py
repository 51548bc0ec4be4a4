"""Every resource of one home, built from its settings; building it touches no file, network or database."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from resources.alerts import Alerts
from resources.audit_log import AuditLog
from resources.blobs import Blobs
from resources.database import Database
from resources.erasures import Erasures
from resources.event_stream import EventStream, make_stream
from resources.lake.tables import Lake
from resources.mlflow_tracking import MlflowTracking
from resources.model_registry import ModelRegistry
from resources.pseudonyms import Pseudonyms
from resources.quarantine import Quarantine
from resources.run_leases import RunLeases
from resources.settings import Home, Settings
from resources.tracing import Tracing


@dataclass(frozen=True)
class Platform:
    """The resources by name, made at their first use."""

    settings: Settings

    @property
    def home(self) -> Home:
        return self.settings.places

    @cached_property
    def database(self) -> Database:
        return Database(self.settings.database, self.home.locks)

    @cached_property
    def lake(self) -> Lake:
        return Lake(self.settings.lake_root, self.database, self.settings.lake_storage_options)

    @cached_property
    def blobs(self) -> Blobs:
        return Blobs(self.home.blobs)

    @cached_property
    def quarantine(self) -> Quarantine:
        return Quarantine(self.database)

    @cached_property
    def pseudonyms(self) -> Pseudonyms:
        key = self.settings.listener_key
        return Pseudonyms(self.home.secrets, key.get_secret_value() if key is not None else None)

    @cached_property
    def event_stream(self) -> EventStream:
        url = self.settings.redis_url
        return make_stream(url.get_secret_value() if url is not None else None, self.database, self.pseudonyms.of)

    @cached_property
    def run_leases(self) -> RunLeases:
        return RunLeases(self.database)

    @cached_property
    def tracing(self) -> Tracing:
        return Tracing(self.home.traces, self.settings.otlp_endpoint)

    @cached_property
    def tracking(self) -> MlflowTracking:
        return MlflowTracking(self.home.mlflow, lock=self.database.lock)

    @cached_property
    def registry(self) -> ModelRegistry:
        return ModelRegistry(self.tracking, self.home.cache / "models", lock=self.database.lock)

    @cached_property
    def alerts(self) -> Alerts:
        return Alerts(self.database)

    @cached_property
    def audit(self) -> AuditLog:
        return AuditLog(self.home.audit, self.home.secrets)

    @cached_property
    def erasures(self) -> Erasures:
        return Erasures(self.database)

    def holders(self) -> dict[str, Any]:
        """Every resource by name: each has `forget(pseudonym)`, or says in `FORGETS_NOTHING` why it needs none."""
        names = [name for name, item in vars(Platform).items() if isinstance(item, cached_property)]
        return {name: getattr(self, name) for name in names}

    def resources(self) -> dict[str, object]:
        """What Dagster hands to assets. Dagster is imported here alone: answering needs none of it."""
        from resources.lake.io_manager import LakeIOManager

        return {
            "io_manager": LakeIOManager(self.lake),
            "lake": self.lake,
            "quarantine": self.quarantine,
            "blobs": self.blobs,
            "database": self.database,
            "settings": self.settings,
            "tracing": self.tracing,
            "platform": self,
        }
