from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ai_assets.content_generation.provenance import (
    DIGITAL_SOURCE_TYPE,
    Provenance,
    ProvenanceError,
    Rejection,
    content_sha256,
    folder_digests,
    from_mapping,
    item_seed,
    library_versions,
    verify,
)

RECORD = Provenance(
    item="text:7",
    modality="text",
    model="text_generator",
    model_version="3",
    model_digests={"model.safetensors": "0" * 64},
    seed=item_seed("text:7", "text", "3"),
    facts={"title": "Nuit"},
    decoding={"temperature": 1.0},
    checks={"passed": True},
    content_sha256=content_sha256("« Nuit »"),
    rejections=(Rejection(0, "key", "C major instead of C minor"),),
    candidates=2,
)


def test_a_record_survives_the_way_through_json_and_marks_the_content_as_synthetic():
    record = json.loads(RECORD.to_json())
    assert record["digitalSourceType"] == DIGITAL_SOURCE_TYPE
    assert from_mapping(record) == RECORD
    assert from_mapping(record).to_json() == RECORD.to_json()


def test_a_record_beside_other_content_is_refused():
    verify(RECORD, "« Nuit »")
    with pytest.raises(ProvenanceError, match="text:7"):
        verify(RECORD, "« Nuit ».")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": None}, "seed"),
        ({"modality": "film"}, "film"),
        ({"digitalSourceType": "digitalCapture"}, "trainedAlgorithmicMedia"),
        ({"colour": "red"}, "colour"),
        ({"schema_version": 2}, "schema version"),
        ({"content_sha256": "abc"}, "SHA-256"),
    ],
)
def test_a_damaged_record_is_refused_with_what_is_wrong(change, message):
    with pytest.raises(ProvenanceError, match=message):
        from_mapping({**RECORD.to_mapping(), **change})


def test_the_seed_depends_on_item_modality_and_model_version_and_never_changes():
    assert item_seed("a", "text", "1") == 3906655574699805229
    seeds = {item_seed(i, m, v) for i in ("a", "b") for m in ("text", "cover") for v in ("1", "2")}
    assert len(seeds) == 8
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_digests_cover_every_file_of_a_model_folder(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "sub" / "w.safetensors").write_bytes(b"1")
    before = folder_digests(tmp_path)
    assert set(before) == {"config.json", "sub/w.safetensors"}
    (tmp_path / "sub" / "w.safetensors").write_bytes(b"2")
    after = folder_digests(tmp_path)
    assert before["config.json"] == after["config.json"]
    assert before["sub/w.safetensors"] != after["sub/w.safetensors"]


def test_library_versions_leave_out_what_is_not_installed():
    assert set(library_versions(["numpy", "no-such-library"])) == {"python", "numpy"}


def test_records_are_values():
    assert replace(RECORD, review_state="approved") != RECORD
