"""How the platform's tables are cut: audio by frozen batch, events by UTC day; models and indices are not partitioned.

A batch key begins with its date, because ranges of dynamic partitions follow the order of insertion.
"""

import dagster as dg

from ai_assets.contract.spec import Partitioning

FIRST_DAY = "2000-01-01"

AUDIO_BATCHES = Partitioning(dg.DynamicPartitionsDefinition(name="audio_batches"), "batch")

EVENT_DAYS = Partitioning(dg.DailyPartitionsDefinition(start_date=FIRST_DAY, timezone="UTC", end_offset=1), "day")
