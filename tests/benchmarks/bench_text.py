"""Full bars of the text generator: `python tests/benchmarks/bench_text.py [full|demo|tiny]` prints and writes a table.

Protocol: 600 invented tracks that no model was trained on, a third in each language (title, artist, genre and energy
always, tempo, key and mood each with probability .8), seeds 1000 to 1599; CPU time of one process with one thread.
"""

from __future__ import annotations

import platform
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from ai_assets.content_generation.facts import GENRES, MOODS, FactSet
from ai_assets.content_generation.text import training
from ai_assets.content_generation.text.checker import check
from ai_assets.content_generation.text.corpus import Example, random_facts
from ai_assets.content_generation.text.decode import GrammarGenerator, TextGenerator, TextItem
from ai_assets.content_generation.text.evaluation import evaluate, masked_words, self_bleu
from ai_assets.content_generation.text.grammar import grammar_for
from ai_assets.content_generation.text.lexicon import LANGUAGES

REPORT = Path(__file__).parents[2] / "docs/quality/text.md"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
UNSEEN = 424242


def unseen(count: int, *, playlists: float = 0.0, seed: int = UNSEEN) -> list[FactSet]:
    """Fact sets of another seed than any training, with genre and energy always given."""
    facts = random_facts(count, seed=seed, playlists=playlists)
    return [replace(f, genre=f.genre or "jazz", energy=0.5 if f.energy is None else f.energy) for f in facts]


def generate(generator: TextGenerator | GrammarGenerator, *, playlists: float = 0.0) -> tuple[list[TextItem], float]:
    langs = [lang for lang in LANGUAGES for _ in range(200)]
    facts = unseen(600, playlists=playlists)
    generator.sample(facts[:64], seeds=range(64), lang="en")
    begin = time.process_time()
    items = generator.sample(facts, seeds=range(1000, 1600), lang=langs)
    return items, 600 / (time.process_time() - begin)


def quality_rows(name: str, items: list[TextItem], speed: float) -> list[str]:
    rows = []
    for lang in LANGUAGES:
        own = [item for item in items if item.lang == lang]
        e = evaluate(own)
        bleu = self_bleu([masked_words(item) for item in own[:100]])
        faults = f"{e.slot_errors} | {e.wrong_language} | {e.other_faults} | {1 - e.outside_grammar / e.texts:.1%}"
        variety = f"{e.unique:.1%} | {e.distinct_2:.3f} / {e.distinct_4:.3f} | {bleu:.3f}"
        rows.append(f"| {name} | {lang} | {faults} | {variety} | {speed:.0f} |")
    return rows


def planted(item: TextItem, rng: np.random.Generator) -> tuple[str, str] | None:
    """The text with exactly one fact made wrong, and which; None when the fact drawn is not given."""
    facts, words = item.facts, grammar_for(item.facts, item.lang).lexicon
    fact = str(rng.choice(["tempo", "key", "genre", "mood"]))
    if fact not in item.fact_spans:
        return None
    others = {
        "tempo": lambda: replace(
            facts, tempo_bpm=round((facts.tempo_bpm or 0) + float(rng.choice([-1, 0.1, 1, 7])), 1)
        ),
        "key": lambda: replace(
            facts, key=str(rng.choice([k for k in ("C major", "F# minor", "Bb major") if k != facts.key]))
        ),
        "genre": lambda: replace(facts, genre=str(rng.choice([g for g in GENRES if g != facts.genre]))),
        "mood": lambda: replace(facts, mood=str(rng.choice([m for m in MOODS if m != facts.mood]))),
    }
    start, end = item.fact_spans[fact]
    slot = next(token for token in item.tokens if token.startswith(f"{{{fact}")).strip("{}")
    return item.text[:start] + words.render(slot, others[fact]()) + item.text[end:], fact


def checker_row(items: list[TextItem]) -> str:
    rng = np.random.default_rng(3)
    wrong = [(item, *found) for item in items if (found := planted(item, rng)) is not None]
    expected = {"tempo": "number", "key": "key", "genre": "genre", "mood": "mood"}
    found = sum(
        expected[fact] in {fault.check for fault in check(text, item.facts, item.lang).faults}
        for item, text, fact in wrong
    )
    alarms = sum(not check(item.text, item.facts, item.lang).passed for item in items)
    return f"| {len(wrong)} | {found / len(wrong):.1%} | {len(items)} | {alarms / len(items):.1%} |"


def keeps_habit(item: TextItem) -> bool:
    """The planted habit: energy in the second sentence when it is high, in the last one when it is low."""
    last = max(item.fact_sentences.values())
    return item.fact_sentences["energy"] == (1 if item.facts.energy_class == "high" else last)


def habit_facts(count: int, seed: int) -> list[FactSet]:
    rng = np.random.default_rng(seed)
    facts = unseen(count, seed=seed)
    return [
        replace(f, energy=float(rng.choice([0.1, 0.9])), key="C minor", tempo_bpm=100.0, mood="calm") for f in facts
    ]


def approved_texts(count: int) -> list[Example]:
    """Texts of the grammar that keep the habit, as if editors had approved only those."""
    kept: list[Example] = []
    grammar, seed = GrammarGenerator(), 0
    while len(kept) < count:
        seed += 1
        facts = habit_facts(600, seed)
        langs = [LANGUAGES[n % 3] for n in range(600)]
        items = grammar.sample(facts, seeds=range(seed * 1000, seed * 1000 + 600), lang=langs)
        kept += [Example(item.facts, item.lang, item.tokens) for item in items if keeps_habit(item)]
    return kept[:count]


def habit_row(name: str, generator: TextGenerator | GrammarGenerator, **options: float) -> str:
    facts = habit_facts(600, seed=909090)
    items = generator.sample(facts, seeds=range(600), lang=[LANGUAGES[n % 3] for n in range(600)], **options)
    share = {}
    for level in ("high", "low"):
        own = [item for item in items if item.facts.energy_class == level]
        share[level] = sum(map(keeps_habit, own)) / len(own)
    errors = sum(not item.checks["passed"] for item in items)
    return f"| {name} | {share['high']:.1%} | {share['low']:.1%} | {errors} |"


def main(presets: list[str]) -> None:
    import torch

    torch.set_num_threads(1)
    quality, trained, items = [], [], []
    grammar = GrammarGenerator()
    for name, share in (("grammar", 0.0), ("grammar, playlists", 1.0)):
        quality += quality_rows(name, *generate(grammar, playlists=share))
    for preset in presets:
        begin = time.process_time()
        generator = training.fit_preset(preset)
        seconds = time.process_time() - begin
        trained.append(
            f"| {preset} | {training.PRESETS[preset].steps} | {seconds:.1f} | {generator.card['last_loss']:.3f} |"
        )
        items, speed = generate(generator)
        quality += quality_rows(f"model, {preset}", items, speed)
        quality += quality_rows(f"model, {preset}, playlists", *generate(generator, playlists=1.0))
    habit = [habit_row("grammar", grammar)]
    for count in (200, 2000):
        generator = training.fit_preset(presets[0], approved=approved_texts(count))
        habit.append(habit_row(f"model ({presets[0]}), {count} approved texts", generator))
        habit.append(habit_row("the same at temperature .5", generator, temperature=0.5))
    write(trained, quality, checker_row(items), habit, presets)


QUALITY_HEAD = (
    "| generator | language | slot errors | wrong language | other faults | in grammar | unique | distinct-2 / -4 "
    "| self-BLEU-4 (100 texts) | texts per CPU s |"
)


def write(trained: list[str], quality: list[str], checker: str, habit: list[str], presets: list[str]) -> None:
    command = f"python tests/benchmarks/bench_text.py {' '.join(presets)}"
    figures = "\n".join(
        [
            f"Measured with `{command}`, Python {platform.python_version()}.",
            "",
            "| preset | steps | training CPU s | last loss, nats per choice |",
            "| --- | --- | --- | --- |",
            *trained,
            "",
            QUALITY_HEAD,
            "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
            *quality,
            "",
            "| texts with one planted error | found | right texts | false alarms |",
            "| --- | --- | --- | --- |",
            checker,
            "",
            "| planted habit kept | energy high: second sentence | energy low: last sentence | texts with a fault |",
            "| --- | --- | --- | --- |",
            *habit,
        ]
    )
    print(figures)
    text = REPORT.read_text(encoding="utf-8")
    head, tail = text.split(BEGIN)[0], text.split(END)[1]
    REPORT.write_text(f"{head}{BEGIN}\n{figures}\n{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:] or ["full", "demo", "tiny"])
