"""`config.json` of a Hugging Face CLIP folder, as the towers' configuration."""

import importlib
import json
import os
from pathlib import Path
from types import ModuleType

from mixcon3d_jax.errors import InputError
from mixcon3d_jax.models.clip import ACTIVATIONS, ClipConfig, TextConfig, VisionConfig


class ClipError(InputError):
    """A CLIP folder that cannot be used; the message names the folder, the part and the cure."""


def import_transformers() -> ModuleType:
    """The transformers library, imported when it is needed: it takes a second.

    Its remark that PyTorch is absent is left out; nothing here wants PyTorch.
    """
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    return importlib.import_module("transformers")


def read_json(path: Path) -> dict:
    """The object that a JSON file holds.

    Raises:
      ClipError: the file is missing, or holds no JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ClipError(
            f"{path}: no such file. A CLIP folder in Hugging Face layout has one; give the folder "
            f"itself, or download it whole."
        ) from error
    except (ValueError, OSError) as error:
        raise ClipError(f"{path}: cannot be read ({error}). Download it again.") from error
    if not isinstance(content, dict):
        raise ClipError(f"{path}: holds no JSON object. Download it again.")
    return content


def read_config(folder: Path) -> ClipConfig:
    """The configuration of the CLIP in `folder`; what it leaves out is transformers' default.

    Raises:
      ClipError: `config.json` is missing, or is not of a CLIP that these towers can be.
    """
    path = folder / "config.json"
    content = read_json(path)
    if content.get("model_type") != "clip":
        raise ClipError(
            f"{path}: model_type is {content.get('model_type')!r}, not 'clip'. Give the "
            f"folder of a CLIPModel (image and text towers in one)."
        )
    try:
        config = import_transformers().CLIPConfig.from_dict(content)
    # transformers checks values in several ways (its own errors, TypeErrors, huggingface_hub's).
    except Exception as error:
        raise ClipError(
            f"{path}: transformers refuses it ({error}). Mend or replace it."
        ) from error
    vision, text = config.vision_config, config.text_config
    _check(path, vision, text)
    return ClipConfig(
        vision=VisionConfig(
            **_transformer(vision),
            image_size=vision.image_size,
            patch_size=vision.patch_size,
            channels=vision.num_channels,
        ),
        text=TextConfig(
            **_transformer(text),
            vocab_size=text.vocab_size,
            context_length=text.max_position_embeddings,
            eos_id=text.eos_token_id,
        ),
        embedding_size=config.projection_dim,
    )


def _transformer(config) -> dict:
    return {
        "width": config.hidden_size,
        "layers": config.num_hidden_layers,
        "heads": config.num_attention_heads,
        "mlp_width": config.intermediate_size,
        "activation": config.hidden_act,
        "layer_norm_eps": config.layer_norm_eps,
    }


def _check(path: Path, vision, text) -> None:
    for key, part in (("vision_config", vision), ("text_config", text)):
        if part.hidden_act not in ACTIVATIONS:
            raise ClipError(
                f"{path}: {key}.hidden_act is '{part.hidden_act}'; known are "
                f"{', '.join(ACTIVATIONS)}."
            )
    whole = (
        ("vision_config.image_size", vision.image_size),
        ("vision_config.patch_size", vision.patch_size),
        ("text_config.eos_token_id", text.eos_token_id),
    )
    for key, value in whole:
        if not isinstance(value, int):
            raise ClipError(f"{path}: {key} is {value!r}; only a single integer is supported.")
