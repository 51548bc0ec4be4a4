"""How reading an audio file can end; what stands in the catalogue is accepted, what is not stands in quarantine."""

from typing import Literal, get_args

AudioStatus = Literal["ok", "short", "partial", "refused", "timeout", "killed", "limit"]
STATUSES: tuple[str, ...] = get_args(AudioStatus)
ACCEPTED = ("ok", "short")
