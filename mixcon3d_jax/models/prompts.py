"""The prompt templates that texts and class names are put into before they are embedded."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32

if TYPE_CHECKING:
    from mixcon3d_jax.models.clip_folder import ClipFolder

# Prompts that are embedded at once.
TEXT_BATCH = 256

# The 64 templates that OpenShape embeds ModelNet40's class names with ("modelnet40_64").
PROMPT_TEMPLATES: tuple[str, ...] = tuple(
    json.loads(Path(__file__).with_name("prompt_templates.json").read_text(encoding="utf-8"))
)


def prompts(text: str, templates: Sequence[str] = PROMPT_TEMPLATES) -> list[str]:
    """`text` in the place of `{}` in every template."""
    return [template.replace("{}", text) for template in templates]


def class_phrase(class_name: str) -> str:
    """A class name as it is said: `street_light` -> `street light`."""
    return class_name.replace("_", " ")


def embed_in_prompts(
    clip: "ClipFolder", texts: Sequence[str], templates: Sequence[str] = PROMPT_TEMPLATES
) -> Float32[np.ndarray, "texts D"]:
    """The mean of the unit-length embeddings of a text in all templates, brought to length 1."""
    filled = [prompt for text in texts for prompt in prompts(text, templates)]
    rows = clip.embed_texts(filled, batch_size=TEXT_BATCH)
    mean = rows.reshape(len(texts), len(templates), clip.embedding_size).mean(axis=1)
    return mean / np.linalg.norm(mean, axis=1, keepdims=True)
