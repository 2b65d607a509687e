"""Which text goes with which object while the small CLIP learns, and which texts mean the same.

Two objects of a batch may both be red chairs: the text of one is then true of the other, and must
not count as wrong.  Every text has a key, every object the keys of all that is true of it.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from data_prep.shapes import CLASSES
from data_prep.small_clip_data import class_names
from mixcon3d_jax.models.prompts import PROMPT_TEMPLATES

# How often the text of an object is: its class in a prompt template or bare; its own text in a
# template; one of its own texts as it is.
KINDS = {"class_prompt": 0.35, "class_name": 0.1, "text_prompt": 0.15, "own": 0.4}

_ONSETS = (*"bcdfghjklmnprstvwz", "bl", "br", "ch", "cl", "dr", "fl", "gr", "pl", "sh", "st", "tr")
_VOWELS = (*"aeiou", "ai", "ea", "ee", "oo", "ou")
_CODAS = ("", *"bdglmnprstx", "ck", "ll", "nd", "nt", "rd", "st")


def meaning(text: str, class_name: str) -> str:
    """A spelling that texts with the same meaning share: no article, the class's first name.

    >>> meaning("a 3d model of a red couch", "sofa")
    'red sofa'
    """
    text = text.removeprefix("a 3d model of ").removeprefix("an ").removeprefix("a ")
    noun, *others = class_names(class_name)
    for other in others:
        if text == other or text.endswith(f" {other}"):
            return text.removesuffix(other) + noun
    return text


@dataclass(frozen=True)
class TextSampler:
    """Draws a text for an object, and knows what else it is true of.

    Attributes:
      classes: the class of each object, an index into `list(CLASSES)`.
      texts: all true texts of each object, the shortest with its colour first.
      keys: keys of all that is true of each object; the first is its class's, equal to its index.
    """

    classes: Int[np.ndarray, " objects"]
    texts: list[list[str]]
    keys: Int[np.ndarray, "objects 6"]

    @classmethod
    def of(cls, classes: Int[np.ndarray, " objects"], texts: list[list[str]]) -> "TextSampler":
        """A sampler for objects and their texts (five each)."""
        names = list(CLASSES)
        numbers = {class_names(name)[0]: number for number, name in enumerate(names)}
        keys = [
            [
                label,
                *(numbers.setdefault(meaning(text, names[label]), len(numbers)) for text in own),
            ]
            for label, own in zip(classes, texts, strict=True)
        ]
        return cls(classes, texts, np.array(keys))

    def sample(self, objects: Int[np.ndarray, " batch"], rng: np.random.Generator):
        """A text for each object, and the texts' keys."""
        kinds = rng.choice(list(KINDS), len(objects), p=list(KINDS.values()))
        drawn = [self._draw(item, kind, rng) for item, kind in zip(objects, kinds, strict=True)]
        return [text for text, _ in drawn], np.array([key for _, key in drawn])

    def _draw(self, item: int, kind: str, rng: np.random.Generator) -> tuple[str, int]:
        own, keys = self.texts[item], self.keys[item]
        template = PROMPT_TEMPLATES[rng.integers(len(PROMPT_TEMPLATES))]
        if kind == "own":
            choice = rng.integers(len(own))
            return own[choice], keys[1 + choice]
        if kind == "text_prompt":
            # With the article and without: what users fill templates with has one or not.
            text = own[0] if rng.random() < 0.5 else own[0].split(" ", 1)[1]
            return template.format(text), keys[1]
        names = class_names(list(CLASSES)[self.classes[item]])
        name = names[0] if rng.random() < 0.6 else names[rng.integers(len(names))]
        return (template.format(name) if kind == "class_prompt" else name), keys[0]

    def true_of(
        self, objects: Int[np.ndarray, " images"], text_keys: Int[np.ndarray, " texts"]
    ) -> Bool[np.ndarray, "images texts"]:
        """Whether each text is true of each object."""
        return (self.keys[objects][:, None, :] == text_keys[None, :, None]).any(axis=-1)


def made_up_words(count: int, rng: np.random.Generator) -> tuple[list[str], list[str]]:
    """Words of no language, each in two prompts.

    The text tower learns from them that a word it never met is a thing of its own whatever prompt
    it stands in: class names that no built-in object has get embeddings that differ.
    """

    def word() -> str:
        syllables = rng.integers(1, 4)
        return "".join(
            str(rng.choice(part)) for _ in range(syllables) for part in (_ONSETS, _VOWELS, _CODAS)
        )

    words = [word() if rng.random() < 0.7 else f"{word()} {word()}" for _ in range(count)]
    frames = [*PROMPT_TEMPLATES, "{}", "a {}"]
    pairs = [rng.choice(len(frames), 2, replace=False) for _ in words]
    return tuple(
        [frames[pair[side]].format(word) for word, pair in zip(words, pairs, strict=True)]
        for side in (0, 1)
    )
