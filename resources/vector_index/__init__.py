"""Nearest-neighbour indices on disk: immutable generations, each whole or not there. Ids and vectors only.

`builder` makes a generation and measures its recall, `generation` swaps and searches. What the vectors mean, and which
tracks may be shown, is `ai_assets.recommendation_update`.
"""

from resources.vector_index.builder import BuildRefused, build
from resources.vector_index.generation import Generation, current, open_generation

__all__ = ["BuildRefused", "Generation", "build", "current", "open_generation"]
