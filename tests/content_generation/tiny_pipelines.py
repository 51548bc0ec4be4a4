"""A tiny Stable Diffusion pipeline and a tiny MusicGen of random weights, made on the spot."""

from __future__ import annotations

import json
import os
from pathlib import Path

from ai_assets.content_generation.safe_loading import OFFLINE_SETTINGS

os.environ.update(OFFLINE_SETTINGS)


def tiny_pipeline(folder: Path, *, checker: bool = True) -> Path:
    """A Stable Diffusion pipeline that paints noise of 64 pixels."""
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPTextConfig, CLIPTextModel

    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        block_out_channels=(8, 16), layers_per_block=1, sample_size=16, in_channels=4, out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=16, attention_head_dim=4, norm_num_groups=4,
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(8, 8, 8), in_channels=3, out_channels=3, latent_channels=4, norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3,
    )  # fmt: skip
    text = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    tokenizer = _clip_tokenizer(folder.parent / f"{folder.name}-words")
    encoder = CLIPTextModel(
        CLIPTextConfig(vocab_size=len(tokenizer), projection_dim=16, max_position_embeddings=77, **text)
    )
    vision = {**text, "image_size": 32, "patch_size": 8, "projection_dim": 16}
    judge = StableDiffusionSafetyChecker(CLIPConfig(text_config=text, vision_config=vision, projection_dim=16))
    judge.concept_embeds_weights.data.fill_(2.0)  # nothing is ever as near to a concept as that
    judge.special_care_embeds_weights.data.fill_(2.0)
    pipeline = StableDiffusionPipeline(
        vae=vae, text_encoder=encoder, tokenizer=tokenizer, unet=unet, scheduler=DDIMScheduler(num_train_timesteps=20, clip_sample=False, steps_offset=1),
        safety_checker=judge if checker else None, requires_safety_checker=checker,
        feature_extractor=CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}) if checker else None,
    )  # fmt: skip
    pipeline.save_pretrained(folder, safe_serialization=True)
    (folder / "README.md").write_text("---\nlicense: creativeml-openrail-m\n---\n", encoding="utf-8")
    return folder


def forbid_everything(folder: Path) -> None:
    """Make the safety checker refuse every picture."""
    from safetensors.torch import load_file, save_file

    weights = folder / "safety_checker" / "model.safetensors"
    tensors = load_file(weights)
    tensors["concept_embeds_weights"].fill_(-2.0)
    save_file(tensors, weights, metadata={"format": "pt"})


def _clip_tokenizer(folder: Path):
    from transformers import CLIPTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    letters = [chr(code) for code in range(33, 127)]
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    (folder / "vocab.json").write_text(
        json.dumps({word: number for number, word in enumerate(words)}), encoding="utf-8"
    )
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "bos_token": words[0], "eos_token": words[1],
                    "unk_token": words[1], "pad_token": words[1]}), encoding="utf-8",
    )  # fmt: skip
    return CLIPTokenizer.from_pretrained(folder)


def tiny_musicgen(folder: Path) -> Path:
    """A MusicGen of random weights: it hums noise at 16 kHz."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        EncodecConfig,
        EncodecModel,
        MusicgenConfig,
        MusicgenDecoderConfig,
        MusicgenForConditionalGeneration,
        PreTrainedTokenizerFast,
        T5Config,
        T5EncoderModel,
    )

    torch.manual_seed(0)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = {letter: number for number, letter in enumerate(["<pad>", "</s>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=words, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    text = T5Config(vocab_size=len(words), d_model=16, d_ff=32, d_kv=8, num_layers=1, num_heads=2)
    codec = EncodecConfig(
        sampling_rate=16000, audio_channels=1, num_filters=4, num_residual_layers=1, upsampling_ratios=[8, 5],
        codebook_size=32, codebook_dim=8, hidden_size=8, target_bandwidths=[4.0], num_lstm_layers=1, normalize=False,
        use_causal_conv=True,
    )  # fmt: skip
    books = 2
    decoder = MusicgenDecoderConfig(
        vocab_size=32, hidden_size=16, num_hidden_layers=1, ffn_dim=32, num_attention_heads=2, num_codebooks=books,
        max_position_embeddings=512, pad_token_id=32, bos_token_id=32, audio_channels=1,
    )  # fmt: skip
    config = MusicgenConfig(text_encoder=text.to_dict(), audio_encoder=codec.to_dict(), decoder=decoder.to_dict())
    model = MusicgenForConditionalGeneration(config)
    assert isinstance(model.text_encoder, T5EncoderModel) and isinstance(model.audio_encoder, EncodecModel)
    for layer in model.audio_encoder.quantizer.layers:  # zeros otherwise: every tune would be the same
        layer.codebook.embed.normal_()
    model.generation_config.decoder_start_token_id = 32
    model.generation_config.pad_token_id = 32
    model.generation_config.bos_token_id = 32
    model.save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>").save_pretrained(folder)
    (folder / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n", encoding="utf-8")
    return folder
