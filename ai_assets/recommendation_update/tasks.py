"""Tasks of recommendation update. / Aufgaben der Empfehlungen. / Tâches de recommandation."""

from typing import Any, Literal

from ai_assets.contract.errors import PermanentError
from ai_assets.contract.tasks import TaskCall, platform_task
from ai_assets.launch import launched

SCOPES = {
    "batch": ("recommendations", "playlists", "recommendation_quality"),
    "realtime": ("raw_events", "listening_events", "interactions", "recommendations"),
    "index": ("content_index", "collaborative_index", "recommendations"),
}


@platform_task
def update_recommendations_task(
    call: TaskCall,
    user_segment: list[str] | Literal["low", "medium", "high"] | None = None,
    update_type: Literal["batch", "realtime", "index"] = "batch",
    model_version: str = "latest",
) -> dict[str, Any]:
    """Bring recommendations up to date from new events (realtime), anew (batch), or with their indices (index).

    Aktualisiert die Empfehlungen aus neuen Ereignissen (realtime), von Grund auf (batch) oder samt den Indizes (index).

    Met à jour les recommandations d’après les nouvelles écoutes (realtime), de zéro (batch) ou avec les index (index).

    Args:
        user_segment: None (all), listeners as in the events, or an activity group; chooses what is reported.
        update_type: `batch`, `realtime` or `index`.
        model_version: `latest`: the champions answer.

    Raises:
        PermanentError: another model version was asked for, or a run failed.
    """
    if model_version != "latest":
        raise PermanentError("model_version: expected 'latest'; promote another version to serve it")
    with launched() as launcher:
        names = SCOPES[update_type]
        items = launcher.planner.forced(names) if update_type != "realtime" else None
        only = None if items is not None else names
        summary = launcher.bring_up_to_date(items=items, only=only, trace_id=call.trace_id, run_id=call.run_id)
        if summary.failures:
            raise PermanentError(f"{summary.failures[0].asset}: {summary.failures[0].message}")
        return _report(launcher.platform, user_segment)


def _report(platform: Any, segment: Any) -> dict[str, Any]:
    lists = platform.lake.table("recommendations")
    frame = lists.frame(["listener", "rank", "reasons", "generation"]) if lists.exists else None
    if frame is None or frame.empty:
        reason = "there are no listening events yet"
        return {"updated": 0, "index_generation": None, "metrics": {}, "explainability": {"because": reason}}
    if isinstance(segment, list):
        frame = frame[frame["listener"].isin([platform.pseudonyms.of(name) for name in segment])]
    elif segment is not None:
        listeners = platform.lake.table("listeners").frame(["listener", "activity_group"])
        frame = frame[frame["listener"].isin(listeners[listeners["activity_group"] == segment]["listener"])]
    first = frame[frame["rank"] == 1]
    examples: list[Any] = [list(reasons) for reasons in first["reasons"].head(3)]
    return {
        "updated": int(frame["listener"].nunique()),
        "index_generation": str(frame["generation"].iloc[0]) if len(frame) else None,
        "metrics": {"rows": len(frame)},
        "explainability": {"reasons_of_first_places": examples or ["no listener of this segment"]},
    }
