"""How many processors this process may use."""

from __future__ import annotations


def usable_processors() -> int:
    """Processors that this process may run on: its affinity and a container's quota count, not the machine's size."""
    from joblib import cpu_count

    return int(cpu_count())
