"""Which errors are worth a retry. Permanent ones fail at once, once; all else is retried with backoff and jitter."""

from __future__ import annotations

import dagster as dg

RETRIES = dg.RetryPolicy(max_retries=2, delay=2, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)


class PermanentError(Exception):
    """Bad input or missing configuration: trying again changes nothing. The message names the thing and the remedy."""


PERMANENT = (PermanentError, TypeError, KeyError, AttributeError, NotImplementedError, ImportError)


def as_failure(error: Exception) -> Exception:
    """The error to raise from a step: permanent kinds become failures that Dagster does not retry."""
    if isinstance(error, dg.Failure | dg.RetryRequested):
        return error
    if isinstance(error, PERMANENT):
        return dg.Failure(f"{type(error).__name__}: {error}", allow_retries=False)
    return error
