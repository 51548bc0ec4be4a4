"""What follows the event log: the audit log, the traces of finished runs, and the delivery of alerts."""

from datetime import UTC, datetime

import dagster as dg

from resources.alert_senders import MailSender, SeveralSenders, WebhookSender
from resources.alerts import LogSender, Sender
from resources.audit_follower import follow_materializations
from resources.platform import Platform
from resources.tracing_replay import replay_run
from sensors.described import sensor

FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
RUNS_PER_TICK = 50


def follower_sensors(seconds: int) -> list[dg.SensorDefinition]:
    """The sensors of this module."""

    @sensor(minimum_interval_seconds=max(seconds, 15))
    def followers(context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]) -> dg.SensorResult:
        """Writes the audit log and the traces from the event log, and delivers alerts. Launches nothing."""
        recorded = follow_materializations(context.instance, platform.audit)
        after = float(context.cursor or 0.0)
        newest = after
        records = context.instance.get_run_records(
            dg.RunsFilter(statuses=FINISHED, updated_after=datetime.fromtimestamp(after, UTC)),
            limit=RUNS_PER_TICK,
            order_by="update_timestamp",
            ascending=True,  # the oldest first: what does not fit into this tick is left for the next
        )
        for record in records:
            updated = record.update_timestamp.timestamp()
            if updated > after:
                replay_run(context.instance, record.dagster_run.run_id, platform.tracing)
                newest = max(newest, updated)
        platform.tracing.flush()
        sent = platform.alerts.deliver(alert_sender(platform))
        return dg.SensorResult(
            cursor=str(newest), skip_reason=dg.SkipReason(f"{recorded} audit records, {sent} alerts delivered")
        )

    return [followers]


def alert_sender(platform: Platform) -> Sender:
    """The configured receivers of alerts, webhook and e-mail; the log where none is configured."""
    settings = platform.settings
    receivers: dict[str, Sender] = {}
    if settings.alert_webhook_url is not None:
        key = settings.alert_webhook_key
        url = settings.alert_webhook_url.get_secret_value()
        receivers["webhook"] = WebhookSender(url, key.get_secret_value() if key is not None else "")
    recipients = tuple(filter(None, (one.strip() for one in settings.alert_mail_to.split(","))))
    if settings.alert_smtp_url is not None and recipients:
        sender = settings.alert_mail_from or recipients[0]
        receivers["mail"] = MailSender(settings.alert_smtp_url.get_secret_value(), sender, recipients)
    if not receivers:
        return LogSender()
    return next(iter(receivers.values())) if len(receivers) == 1 else SeveralSenders(platform.database, receivers)
