"""Recommendation update: indices, ranking, rules, recommendations and playlists, and the one module that answers.

Empfehlungen: Indizes, Rangfolge, Regeln, Empfehlungen und Playlists, dazu das eine Modul, das antwortet.

Recommandation : index, classement, règles, recommandations et playlists, et le seul module qui répond.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    """The family's task, loaded when it is first asked for, so that plain modules stay light to import."""
    if name == "update_recommendations_task":
        from ai_assets.recommendation_update.tasks import update_recommendations_task

        return update_recommendations_task
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
