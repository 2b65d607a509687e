"""The prompt templates that texts and class names are put into before they are embedded."""

import json
from collections.abc import Sequence
from pathlib import Path

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
