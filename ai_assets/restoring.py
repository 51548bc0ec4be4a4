"""Restoring a home: from a backup to a home that can go on, with nobody who was erased meanwhile in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from ai_assets.data_processing.erasure import enforce_list
from ai_assets.home import prepare_home
from ai_assets.look import daemon_running
from resources.backup import BackupRefused, after_restore, restore_database, restore_home
from resources.erasures import Erasures
from resources.platform import Platform
from resources.settings import Settings


@dataclass(frozen=True)
class Restored:
    """What a restore did: the home, where the replaced one lies, and how many listeners were erased again."""

    home: Path
    replaced: Path | None
    erased_again: int


def restore(
    settings: Settings,
    folder: Path | None,
    *,
    actor: str,
    replace: bool = False,
    keys: Path | None = None,
    database_only: bool = False,
    fences_only: bool = False,
) -> Restored:
    """Restore the home of `settings`.

    Args:
        folder: of the backup; None with `fences_only`.
        replace: whether a home that stands there may be put aside.
        keys: folder of the keys, for a backup that was made without them.
        database_only: only the platform database, under tables that may be newer.
        fences_only: nothing is copied: the database was restored by other means.

    Raises BackupRefused; nothing was changed then.
    """
    before = Platform(settings)
    if daemon_running(before):
        raise BackupRefused(f"a daemon is running on {settings.home}; stop it first")
    erased = _erasures(before)
    replaced = None
    if database_only and folder is not None:
        restore_database(folder, before)
    elif not fences_only and folder is not None:
        replaced = restore_home(folder, settings.home, replace=replace, keys=keys)
    platform = prepare_home(settings)
    after_restore(platform)
    platform.erasures.merge(erased)
    again = enforce_list(platform, actor=actor)
    what = "fences" if fences_only else "database" if database_only else "home"
    platform.audit.append("restore", actor, {what: "all"}, erased_again=len(again))
    return Restored(settings.home, replaced, len(again))


def _erasures(platform: Platform) -> list[dict]:
    """The erasure list of the home that stands there, if one does."""
    if platform.database.is_sqlite and not Path(platform.database.url.removeprefix("sqlite:///")).exists():
        return []
    if not sa.inspect(platform.database.engine).has_table("erasures"):
        return []
    return Erasures(platform.database).rows()
