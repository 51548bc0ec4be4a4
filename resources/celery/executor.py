"""The run's half of the Celery executor: sends steps to workers and notices when nobody works on one.

Built on Dagster's `StepDelegatingExecutor`, as its Kubernetes executor is. Messages are acknowledged when they are
taken and may be sent twice; whether a step lives is read from leases, how it went from Dagster's event log. What a
worker does with a step stands in `steps`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import dagster as dg
from dagster._core.events import DagsterEvent, EngineEventData
from dagster._core.execution.plan.objects import StepFailureData
from dagster._core.execution.retries import RetryMode
from dagster._core.executor.base import Executor
from dagster._core.executor.step_delegating import (
    CheckStepHealthResult,
    StepDelegatingExecutor,
    StepHandler,
    StepHandlerContext,
)

from resources.celery.leases import LEASE_SECONDS, Leases, StepState
from resources.executors import QUEUE_TAG, QUEUES, queue_name
from resources.platform import Platform
from resources.settings import Settings, load_settings

# Longer than a worker's restart; with the checks' interval still within a minute.
NO_WORKER_SECONDS = 35.0
NO_BROKER_SECONDS = 120.0
# A lease that ran out, seen for so long: an outage of Redis that ended a moment ago is no lost worker.
LOST_SECONDS = 5.0
FIRST_RESEND_SECONDS = 10.0
CHECK_SECONDS = 2
SLEEP_SECONDS = 0.5
HOPELESS = "not tried again: "


@dataclass
class Sent:
    """What the run remembers of an attempt that it gave away; times are monotonic."""

    queue: str
    since: float
    next_send: float
    gap: float = FIRST_RESEND_SECONDS
    accepted: bool = False
    taken: bool = False
    missing_since: float | None = None
    idle_since: float | None = None


class CeleryStepHandler(StepHandler):
    """Sends steps to the queue of their tag `ai_assets/queue` (cpu, gpu or io), and watches their leases."""

    def __init__(self, settings: Settings, leases: Leases) -> None:
        self._settings = settings
        self._leases = leases
        self._sent: dict[str, Sent] = {}

    @property
    def name(self) -> str:
        return "celery"

    def launch_step(self, step_handler_context: StepHandlerContext) -> Iterator[DagsterEvent]:
        """Send the step. A broker that is away is tried again at every check."""
        step, name = _identity(step_handler_context)
        queue = step_handler_context.step_tags[step].get(QUEUE_TAG, QUEUES[0])
        now = time.monotonic()
        self._sent[name] = Sent(queue, now, now)
        yield DagsterEvent.step_worker_starting(
            step_handler_context.get_step_context(step), f"Sent to the workers of queue {queue}.", metadata={}
        )
        self._send(step_handler_context)

    def _send(self, context: StepHandlerContext) -> None:
        from resources.celery.app import app
        from resources.celery.steps import TASK, compress

        step, name = _identity(context)
        sent = self._sent[name]
        arguments = [context.execute_step_args.run_id, step, _attempt(context), compress(context.execute_step_args)]
        policy = {"max_retries": 1, "interval_start": 0.2}
        try:
            app.send_task(
                TASK, arguments, queue=queue_name(self._settings, sent.queue), ignore_result=True, retry=True,
                retry_policy=policy,
            )  # fmt: skip
        except Exception as error:
            if not _is_outage(error):
                raise
            sent.next_send = 0.0
            return
        sent.accepted = True
        sent.next_send = time.monotonic() + sent.gap
        sent.gap *= 2

    def check_step_health(self, step_handler_context: StepHandlerContext) -> CheckStepHealthResult:
        step, name = _identity(step_handler_context)
        queue = step_handler_context.step_tags[step].get(QUEUE_TAG, QUEUES[0])
        now = time.monotonic()
        sent = self._sent.setdefault(name, Sent(queue, now, now + FIRST_RESEND_SECONDS))
        try:
            state = self._leases.state(name, queue)
        except Exception:  # Redis is away: that says nothing of the worker
            sent.missing_since = sent.idle_since = None
            return CheckStepHealthResult.healthy()
        sent.taken |= state.held
        if state.held:
            sent.missing_since = None
            return CheckStepHealthResult.healthy()
        why = self._lost(sent, state) if sent.taken or state.ended is not None else self._waiting(sent, state)
        if sent.next_send <= now and not sent.taken and state.ended is None and not why:
            self._send(step_handler_context)  # lost with the broker, or held back by a busy worker
        if not why or _has_ended(step_handler_context):
            return CheckStepHealthResult.healthy()
        self._leases.stop(name, why)
        return CheckStepHealthResult.unhealthy(why)

    @staticmethod
    def _lost(sent: Sent, state: StepState) -> str:
        """Why an attempt that somebody took is lost; "" while that is not certain."""
        now = time.monotonic()
        sent.missing_since = sent.missing_since if sent.missing_since is not None else now
        if now - sent.missing_since < LOST_SECONDS:
            return ""
        if state.ended is not None:
            status = f"by signal {-state.ended}" if state.ended < 0 else f"with status {state.ended}"
            return f"its process ended {status} without a result" + (" (out of memory?)" if state.ended == -9 else "")
        return f"its worker is gone (no sign of life for {LEASE_SECONDS + LOST_SECONDS:.0f} s)"

    @staticmethod
    def _waiting(sent: Sent, state: StepState) -> str:
        """Why an attempt that nobody has taken never will be; "" while it may just wait."""
        now = time.monotonic()
        if not sent.accepted:
            waited = now - sent.since
            return HOPELESS + f"the broker was away for {waited:.0f} s" if waited > NO_BROKER_SECONDS else ""
        if state.workers:
            sent.idle_since = None
            return ""
        sent.idle_since = sent.idle_since if sent.idle_since is not None else now
        if now - sent.idle_since < NO_WORKER_SECONDS:
            return ""
        return HOPELESS + (
            f"no worker listens to queue {sent.queue} ({NO_WORKER_SECONDS:.0f} s); "
            f"start one: ai-assets worker --queue {sent.queue}"
        )

    def terminate_step(self, step_handler_context: StepHandlerContext) -> Iterator[DagsterEvent]:
        """Have the step's process ended within seconds."""
        from resources.celery.steps import CANCELLED

        step, name = _identity(step_handler_context)
        yield DagsterEvent.engine_event(
            step_handler_context.get_step_context(step), f"Cancelling step {step} on its worker", EngineEventData()
        )
        try:
            self._leases.stop(name, CANCELLED)
        except Exception as error:  # away: the step ends by itself once the run is over
            yield DagsterEvent.engine_event(
                step_handler_context.get_step_context(step),
                f"Redis is away ({type(error).__name__})",
                EngineEventData(),
            )


class CeleryExecutor(StepDelegatingExecutor):
    """The executor over `CeleryStepHandler`: leads the run with a lease, so that its steps end when it is gone."""

    def __init__(self, settings: Settings, leases: Leases, max_concurrent: int | None) -> None:
        self._settings = settings
        self._leases = leases
        super().__init__(
            CeleryStepHandler(settings, leases),
            retries=RetryMode.ENABLED,
            sleep_seconds=SLEEP_SECONDS,
            check_step_health_interval_seconds=CHECK_SECONDS,
            max_concurrent=max_concurrent,
        )

    def execute(self, plan_context: Any, execution_plan: Any) -> Iterator[DagsterEvent]:
        run_id = plan_context.run_id
        with self._leases.leading(run_id), Platform(self._settings).run_leases.leading(run_id):
            yield from super().execute(plan_context, execution_plan)

    def log_failure_or_retry_event_after_error(
        self, step_context: Any, err_info: Any, known_state: Any
    ) -> DagsterEvent:
        """As Dagster does, but what no retry can mend fails at once."""
        if HOPELESS not in err_info.message:
            return super().log_failure_or_retry_event_after_error(step_context, err_info, known_state)
        data = StepFailureData(error=err_info, user_failure_data=None)  # type: ignore[no-untyped-call]
        return DagsterEvent.step_failure_event(step_context, data)


@dg.executor(
    name="celery",
    config_schema={"max_concurrent": dg.Field(int, is_required=False, description="Steps of one run at a time.")},
    requirements=dg.multiple_process_executor_requirements(),
)
def celery_executor(context: dg.InitExecutorContext) -> Executor:
    """Steps on Celery workers: start them with `ai-assets worker`; needs AI_ASSETS_BROKER_URL and _REDIS_URL."""
    from resources.celery.steps import make_leases

    settings = load_settings()
    limit: Any = context.executor_config.get("max_concurrent")
    return CeleryExecutor(settings, make_leases(settings), limit)


def _identity(context: StepHandlerContext) -> tuple[str, str]:
    """Key of the one step, and the name of its attempt."""
    from resources.celery.steps import attempt_name

    steps = context.execute_step_args.step_keys_to_execute or []
    assert len(steps) == 1
    return steps[0], attempt_name(context.execute_step_args.run_id, steps[0], _attempt(context))


def _attempt(context: StepHandlerContext) -> int:
    known = context.execute_step_args.known_state
    steps = context.execute_step_args.step_keys_to_execute or []
    return 0 if known is None else int(known.get_retry_state().get_attempt_count(steps[0]))


def _has_ended(context: StepHandlerContext) -> bool:
    """Whether the attempt's end is in the event log (the executor has not read it yet)."""
    from resources.celery.steps import why_not

    args = context.execute_step_args
    step = (args.step_keys_to_execute or [""])[0]
    return why_not(context.instance, args.run_id, step, _attempt(context)) in ("it has ended", "the run is over")


def _is_outage(error: Exception) -> bool:
    """Whether a broker or Redis could not be reached."""
    import kombu.exceptions
    import redis

    return isinstance(error, kombu.exceptions.OperationalError | redis.RedisError | OSError)
