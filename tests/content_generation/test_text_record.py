from __future__ import annotations

import html
import json
import re
import subprocess
import sys
from dataclasses import replace
from unittest.mock import ANY

import pytest

from ai_assets.content_generation.facts import fact_set
from ai_assets.content_generation.papers import Source, record_of, remade
from ai_assets.content_generation.provenance import (
    DIGITAL_SOURCE_TYPE,
    ProvenanceError,
    content_sha256,
    folder_digests,
    from_mapping,
    item_seed,
    verify,
)
from ai_assets.content_generation.text import training
from ai_assets.content_generation.text.corpus import grammar_examples, random_facts
from ai_assets.content_generation.text.decode import GrammarGenerator, TextGenerator
from ai_assets.content_generation.text.model import ModelSize
from ai_assets.content_generation.text.nearest import KnownTexts
from ai_assets.content_generation.text.record import explanation, to_html
from ai_assets.content_generation.text.tokens import vocabulary

FACTS = fact_set({"title": "<b>Nuit</b> & \u202eco", "artist": "Ana", "mood": "calm", "tempo_bpm": 90.5})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    data = grammar_examples(random_facts(60, seed=1), seed=1)
    target = tmp_path_factory.mktemp("model")
    training.fit(data, steps=2, seed=0, size=ModelSize(width=16, layers=1, heads=2, inner=32)).save(target)
    return target


@pytest.fixture(scope="module")
def generator(folder):
    return TextGenerator.load(folder)


def written(generator, folder, **options):
    seed = item_seed("text:1", "text", generator.version)
    item = generator.sample([FACTS], seeds=[seed], lang="fr", **options)[0]
    return item, record_of("text", item, "text:1", Source.of_folder(generator, "text_generator/3", folder))


def test_a_text_has_a_complete_record_that_survives_json(generator, folder):
    item, record = written(generator, folder)
    verify(from_mapping(json.loads(record.to_json())), item.text)
    assert set(record.model_digests) == {"config.json", "model.safetensors", "training.safetensors"}
    assert record.model_digests == folder_digests(folder)
    assert record.libraries["torch"] and record.licence == "Apache-2.0"
    assert record.decoding == {"decoder": "model", "generator_version": generator.version, "temperature": 1.0}
    assert record.nearest_training_item["id"].startswith("text_training_set:")
    assert 0 < record.nearest_training_item["similarity"] <= 1
    assert record.to_mapping()["digitalSourceType"] == DIGITAL_SOURCE_TYPE


@pytest.mark.parametrize("temperature", [1.0, 0.4])
def test_a_text_is_made_again_from_its_record_alone(generator, folder, temperature):
    item, record = written(generator, folder, temperature=temperature)
    assert remade(from_mapping(json.loads(record.to_json())), generator).text == item.text


def test_a_text_is_made_again_in_another_process(generator, folder):
    item, record = written(generator, folder)
    code = (
        "import json, sys; from pathlib import Path\n"
        "from ai_assets.content_generation.provenance import from_mapping\n"
        "from ai_assets.content_generation.text.decode import TextGenerator\n"
        "from ai_assets.content_generation.papers import remade\n"
        "record = from_mapping(json.loads(sys.stdin.read()))\n"
        f"print(ascii(remade(record, TextGenerator.load(Path({str(folder)!r}))).text))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], input=record.to_json(), capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == ascii(item.text)


def test_another_generator_or_changed_facts_do_not_pass_for_the_same_text(generator, folder):
    _, record = written(generator, folder)
    with pytest.raises(ProvenanceError, match="text_grammar"):
        remade(record, GrammarGenerator())
    changed = replace(record, facts={**record.facts, "mood": "sad"})
    assert content_sha256(remade(changed, generator).text) != record.content_sha256


def test_the_nearest_training_text_is_found_and_a_copied_wording_has_similarity_one():
    data = grammar_examples(random_facts(60, seed=1), seed=1)
    words = vocabulary()
    known = KnownTexts.of([(entry.lang, words.encode(entry.tokens)) for entry in data])
    copied = data[37]
    assert known.nearest(words.encode(copied.tokens), copied.lang) == {"id": "text_training_set:37", "similarity": 1.0}
    other = next(lang for lang in ("en", "de", "fr") if lang != copied.lang)
    assert (known.nearest(words.encode(copied.tokens), other) or {"similarity": 0})["similarity"] < 1


def test_the_baseline_has_the_same_papers(tmp_path):
    baseline = GrammarGenerator()
    baseline.save(tmp_path)
    item, record = written(baseline, tmp_path)
    assert remade(record, baseline) == replace(item, facts=replace(item.facts, notes=()), checks=ANY, notes=ANY)
    assert "torch" not in record.libraries


def test_html_is_escaped_and_marked(generator, folder):
    item, record = written(generator, folder)
    shown = to_html(item, record)
    assert "<b>" not in shown and 'data-ai-generated="true"' in shown and DIGITAL_SOURCE_TYPE in shown
    assert html.unescape(re.search(r">(.*)</p>$", shown)[1]) == item.text


def test_the_explanation_maps_every_fact_to_its_place(generator, folder):
    item, _ = written(generator, folder)
    found = explanation(item)
    assert set(found["facts"]) == {"title", "artist", "mood", "tempo"}
    assert found["facts"]["title"]["text"] == "«\u00a0<b>Nuit</b> & co\u00a0»"
    assert found["facts"]["tempo"]["text"].startswith("90,5\u00a0")
    assert found["facts"]["title"]["sentence"] == 0
    assert found["rejected_candidates"] == []
