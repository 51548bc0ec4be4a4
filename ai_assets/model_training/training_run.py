"""What every training asset does around its `fit`: an MLflow run, a registered version, the gate, the report.

The science (what is fitted and how it is judged) stands in the family that owns the model; it hands over a folder and a
`Trained`. A candidate takes the alias `champion` only when it is better on the same held-out data.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dagster as dg
import numpy as np

from ai_assets.contract import CONTRACTS, Check, Product, Verdict
from ai_assets.contract.trace import trace_id
from ai_assets.model_training.training_plots import learning_curve
from ai_assets.model_training.training_record import model_card, record_tags
from resources.mlflow_tracking import StepIdentity
from resources.model_registry import ModelVersion
from resources.platform import Platform

PROMOTION = Check(
    "promotion",
    "The candidate is compared with the champion on the same held-out data; only a better one is promoted.",
)


LONGEST_TRAINING_SECONDS = 6 * 3600.0  # of a run, as in `resources/instance`


@dataclass(frozen=True)
class Trained:
    """A fitted model in a folder, and how it was judged.

    `scores` are per-case values of the main metric on held-out data (higher is better); `champion_scores` gives the
    same for another version's folder, or None where that version cannot be judged on these data. With `baseline_scores`
    a first model is promoted only if its mean is above theirs. `guards` gives what must not become worse by more than
    5 %: name -> (this model's value, that of the version in the folder), higher is better. `groups` are metrics by
    group of cases, for the card; `card` says purpose and limits, the rest of the card is written by `train`.
    """

    main_metric: str
    scores: np.ndarray
    champion_scores: Callable[[Path], np.ndarray | None]
    metrics: Mapping[str, float]
    baselines: Mapping[str, float] = field(default_factory=dict)
    baseline_scores: np.ndarray | None = None
    guards: Callable[[Path], Mapping[str, tuple[float, float]]] | None = None
    groups: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    plots: Mapping[str, bytes] = field(default_factory=dict)
    curve: Mapping[str, list[float]] = field(default_factory=dict)
    card: str = ""
    signature: Any = None
    input_example: Any = None


def train(
    context: dg.AssetExecutionContext,
    platform: Platform,
    name: str,
    fit: Callable[[Path], Trained | str],
    *,
    asset: str | None = None,
) -> Product:
    """Fit, log, register, decide; the Product of a model asset.

    A second training of the same model waits until the first has ended.

    Args:
        fit: writes the model into the given folder, or returns a sentence that says why there is nothing to train on.
        asset: what is materialized, where it is another than the model of this name.

    Raises:
        TimeoutError: another training of this model has gone on for six hours.
    """
    alone = platform.database.lock(f"training:{name}", wait_seconds=LONGEST_TRAINING_SECONDS)
    with alone, TemporaryDirectory(prefix=f"{name}-") as scratch:
        folder = Path(scratch) / "model"
        folder.mkdir()
        with platform.tracking.start(_identity(context, asset or name)) as run:
            trained = fit(folder)
            if isinstance(trained, str):
                return no_model(name, trained)
            code_version, data_versions = CONTRACTS[asset or name].code_version, _data_versions(platform, asset or name)
            for series, values in trained.curve.items():
                for step, value in enumerate(values):
                    run.log_metrics({series: float(value)}, step=step)
            card = model_card(
                trained.card, data_versions=data_versions, metrics=trained.metrics, baselines=trained.baselines,
                groups=trained.groups, code_version=code_version,
            )  # fmt: skip
            plots = dict(trained.plots)
            if trained.curve:
                plots["learning_curve.png"] = learning_curve(trained.curve)
            run.set_tags(record_tags(code_version))
            version = platform.registry.log_model(
                name,
                folder,
                metrics={key: float(value) for key, value in {**trained.metrics, **_prefixed(trained)}.items()},
                params=trained.params,
                tags={
                    "trace_id": trace_id(context.run),
                    "main_metric": trained.main_metric,
                    **record_tags(code_version),
                },
                signature=trained.signature,
                input_example=trained.input_example,
                plots=plots,
                model_card_markdown=card,
                data_versions=data_versions,
                run_id=run.run_id,
            )
        verdict = decide(platform, version, trained)
        platform.audit.append(
            "promotion_decision", "gate", {"model": version.name, "version": version.version},
            run_id=context.run.run_id, trace_id=trace_id(context.run), why=verdict.description,
            **{key: value for key, value in verdict.metadata.items() if value == value},
        )  # fmt: skip
    shown: dict[str, Any] = {f"metric_{key}": value for key, value in trained.metrics.items()}
    shown |= {f"baseline_{key}": value for key, value in trained.baselines.items()}
    shown |= {f"plot_{key.removesuffix('.png')}": png for key, png in plots.items()}
    champion = platform.registry.champion(name)
    return Product(
        version.digest,
        metadata={**shown, "model": version.label, "champion": champion.label if champion else "none",
                  "card": dg.MetadataValue.md(card), **run.metadata},
        verdicts={"promotion": verdict},
    )  # fmt: skip


def no_model(name: str, reason: str) -> Product:
    """The Product of a model asset without enough data: downstream treats the model as absent."""
    return Product(
        "0" * 64, metadata={"model": f"no {name} yet", "because": reason}, verdicts={"promotion": Verdict(True, reason)}
    )


def decide(platform: Platform, candidate: ModelVersion, trained: Trained) -> Verdict:
    """Promote the candidate if it is the first or better; the verdict holds the numbers."""
    from ai_assets.model_training.gate import compare

    champion = platform.registry.champion(candidate.name)
    numbers = {trained.main_metric: float(np.mean(trained.scores)), "candidate": candidate.label}
    if champion is None and trained.baseline_scores is not None:
        gain = float(np.nanmean(trained.scores - trained.baseline_scores))
        if not gain > 0:
            return Verdict(False, f"not promoted: no better than the baseline ({gain:+.4f})", numbers)
    if champion is None:
        platform.registry.promote(candidate.name, candidate.version, "the first model of its name")
        return Verdict(True, "promoted: the first model of its name", numbers)
    if champion.version == candidate.version:
        return Verdict(True, "the same model as the champion", numbers)
    standing = trained.champion_scores(platform.registry.fetch(candidate.name))
    if standing is None:
        platform.registry.promote(candidate.name, candidate.version, "the champion cannot be judged on today's data")
        return Verdict(True, "promoted: the champion cannot be judged on today's data", numbers)
    guards = trained.guards(platform.registry.fetch(candidate.name)) if trained.guards is not None else {}
    decision = compare(trained.scores, standing, guards=guards)
    numbers |= {f"guard_{guard}": f"{new:.4g} against {old:.4g}" for guard, (new, old) in guards.items()}
    numbers |= {
        "champion": champion.label,
        "difference": decision.difference,
        "low": decision.low,
        "high": decision.high,
    }
    if decision.promoted:
        platform.registry.promote(candidate.name, candidate.version, decision.reason)
    return Verdict(decision.promoted, decision.reason, numbers)


def _prefixed(trained: Trained) -> dict[str, float]:
    return {f"baseline_{key}": value for key, value in trained.baselines.items()}


def _identity(context: dg.AssetExecutionContext, name: str) -> StepIdentity:
    run = context.run
    return StepIdentity(
        asset=name, dagster_run_id=run.root_run_id or run.run_id, attempt=context.retry_number,
        trace_id=trace_id(run), backfill=run.tags.get("dagster/backfill"),
    )  # fmt: skip


def _data_versions(platform: Platform, name: str) -> dict[str, str]:
    versions = {}
    for dependency in CONTRACTS[name].dependencies:
        held = platform.lake.ledger.entries(dependency)
        versions[dependency] = ",".join(held[key].content_hash[:12] for key in sorted(held)[-50:])
    return versions
