"""Tunes from a small transformer over bars, chords and notes, trained on the scores that the user has.

Here belong reading scores, the tokens, the models, the meter automaton, the checks, and the forms of a finished tune:
MIDI (the master), sound and a picture. Facts, provenance and review are shared with texts and covers one level up.

    scores = read_scores(Path("landing/scores"))
    generator = fit_preset(scores, "demo")
    item = generator.sample([fact_set({"key": "D minor", "tempo_bpm": 96})], seeds=[7])[0]
"""

from ai_assets.content_generation.music.decode import MusicGenerator, MusicItem, NGramGenerator
from ai_assets.content_generation.music.scores import Score, ScoreFolder, read_folder, read_scores
from ai_assets.content_generation.music.training import PRESETS, TooFewScores, fit_preset

__all__ = [
    "PRESETS",
    "MusicGenerator",
    "MusicItem",
    "NGramGenerator",
    "Score",
    "ScoreFolder",
    "TooFewScores",
    "fit_preset",
    "read_folder",
    "read_scores",
]
