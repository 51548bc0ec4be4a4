"""Tiny checkpoints in the transformers layout: a working one, and one broken copy for each way of being broken."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from ai_assets.content_generation.safe_loading import OFFLINE_SETTINGS

os.environ.update(OFFLINE_SETTINGS)


def tiny_language_model(folder: Path) -> Path:
    """A Llama of random weights with a byte-level tokenizer: it writes noise, which is what a refusal needs."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: number for number, letter in enumerate(["<eos>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        eos_token_id=0,
        bos_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>").save_pretrained(folder)
    (folder / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n# Tiny\n", encoding="utf-8")
    return folder


def broken_copy(source: Path, target: Path, how: str) -> Path:
    """A copy of the folder that is broken in the named way."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(source, target)
    weights, config = target / "model.safetensors", target / "config.json"
    settings = json.loads(config.read_text(encoding="utf-8"))
    if how == "truncated":
        weights.write_bytes(weights.read_bytes()[:-200])
    elif how == "pickle only":
        weights.rename(target / "pytorch_model.bin")
    elif how in ("missing weight", "mismatched weight", "unexpected weight"):
        tensors = load_file(weights)
        name = "model.layers.0.mlp.up_proj.weight"
        if how == "missing weight":
            del tensors[name]
        elif how == "mismatched weight":
            tensors[name] = tensors[name][:, :8].contiguous()
        else:
            tensors["model.extra.weight"] = tensors[name].clone()
        save_file(tensors, weights, metadata={"format": "pt"})
    elif how == "own code":
        config.write_text(
            json.dumps({**settings, "auto_map": {"AutoModelForCausalLM": "evil.Model"}}), encoding="utf-8"
        )
    elif how == "other architecture":
        config.write_text(json.dumps({**settings, "architectures": ["EvilForCausalLM"]}), encoding="utf-8")
    elif how == "no config":
        config.unlink()
    elif how == "config not JSON":
        config.write_text("{", encoding="utf-8")
    return target
