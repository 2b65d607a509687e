"""The small CLIP's folder in Hugging Face layout: its sizes, its tokenizer, its image processor.

Texts are read byte by byte (CLIP's own tokenizer with a vocabulary of single bytes and no merges),
so any text in any language has ids, and different texts have different ones.
"""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from mixcon3d_jax.models.clip import Clip
from mixcon3d_jax.models.clip_config import import_transformers, read_config
from mixcon3d_jax.models.clip_weights import WEIGHTS_FILE, checkpoint_tensors

SMALL_CLIP_ID = "mixcon3d-jax/small-clip"
START, END = "<|startoftext|>", "<|endoftext|>"
IMAGE_SIZE = 64
CONTEXT = 77


def byte_vocabulary() -> dict[str, int]:
    """Ids of the 256 bytes, of the 256 bytes that end a word, and of a text's start and end.

    Bytes are spelt as GPT-2's and CLIP's tokenizers spell them: printable ones as themselves, the
    others by the characters from 256 on.
    """
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1)]
    printable += range(ord("®"), ord("ÿ") + 1)
    others = [byte for byte in range(256) if byte not in printable]
    symbols = [chr(byte) for byte in printable] + [chr(256 + n) for n in range(len(others))]
    tokens = [*symbols, *(f"{symbol}</w>" for symbol in symbols), START, END]
    return {token: number for number, token in enumerate(tokens)}


def small_clip_config() -> dict:
    """`config.json` of the small CLIP."""
    vocabulary = byte_vocabulary()
    tower = {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5, "attention_dropout": 0.0}
    return {
        "_name_or_path": SMALL_CLIP_ID,
        "architectures": ["CLIPModel"],
        "model_type": "clip",
        "projection_dim": 128,
        "logit_scale_init_value": 2.6592,
        "text_config": {
            **tower,
            "hidden_size": 128,
            "intermediate_size": 384,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "max_position_embeddings": CONTEXT,
            "vocab_size": len(vocabulary),
            "bos_token_id": vocabulary[START],
            "eos_token_id": vocabulary[END],
            "pad_token_id": vocabulary[END],
            "projection_dim": 128,
        },
        "vision_config": {
            **tower,
            "hidden_size": 128,
            "intermediate_size": 384,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_channels": 3,
            "image_size": IMAGE_SIZE,
            "patch_size": 8,
            "projection_dim": 128,
        },
    }


def write_settings(folder: Path, config: dict) -> None:
    """Writes all but the weights: `config.json`, tokenizer and image processor."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    processor = {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"shortest_edge": config["vision_config"]["image_size"]},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": dict.fromkeys(("height", "width"), config["vision_config"]["image_size"]),
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor, indent=2) + "\n")
    tokenizer = import_transformers().CLIPTokenizer(
        vocab=byte_vocabulary(),
        merges=[],
        model_max_length=config["text_config"]["max_position_embeddings"],
    )
    tokenizer.save_pretrained(folder)


def write_weights(folder: Path, clip: Clip, logit_scale: float) -> None:
    """Writes `model.safetensors` beside the settings, in float16.

    Args:
      folder: as `write_settings` wrote it.
      clip: the towers.
      logit_scale: natural logarithm of the inverse temperature, which transformers wants too.
    """
    tensors = checkpoint_tensors(clip, read_config(folder))
    tensors["logit_scale"] = np.asarray(logit_scale)
    save_file(
        {name: np.asarray(tensor, np.float16) for name, tensor in tensors.items()},
        folder / WEIGHTS_FILE,
        metadata={"format": "pt"},
    )
