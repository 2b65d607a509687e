"""What can truly be said of an object: its kind, main colour, features, and its parts' colours."""

import numpy as np

from data_prep.shapes.colours import Paint

MAX_LENGTH = 70


def with_article(phrase: str) -> str:
    """The phrase behind "a" or "an"."""
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def main_colour(paints: dict[str, Paint], areas: dict[str, float]) -> str:
    """The name of the colour that covers most of the surface."""
    total: dict[str, float] = {}
    for part, paint in paints.items():
        total[paint.name] = total.get(paint.name, 0.0) + areas[part]
    return max(total, key=total.get)


def write_captions(
    rng: np.random.Generator,
    noun: str,
    synonyms: tuple[str, ...],
    features: list[str],
    paints: dict[str, Paint],
    areas: dict[str, float],
) -> tuple[str, list[str]]:
    """Writes the text of an object ("a red chair") and four more captions.

    Args:
      rng: chooses what is mentioned.
      noun: the kind.
      synonyms: other nouns for it.
      features: what follows "with" truly.
      paints: each part's paint; parts whose name begins with "_" are not mentioned.
      areas: each part's surface area.

    Returns:
      The text; then the kind, its features, its parts' colours, and another wording.
    """
    colour = main_colour(paints, areas)
    text = with_article(f"{colour} {noun}")
    captions = [with_article(noun), _with_features(rng, noun, features)]
    captions.append(_with_part_colours(noun, paints, areas))
    if synonyms:
        captions.append(with_article(f"{colour} {synonyms[rng.integers(len(synonyms))]}"))
    else:
        captions.append(f"a 3d model of {text}")
    return text, captions


def _with_features(rng: np.random.Generator, noun: str, features: list[str]) -> str:
    chosen = [features[index] for index in sorted(rng.permutation(len(features))[:2])]
    caption = f"{with_article(noun)} with {' and '.join(chosen)}"
    return caption if len(caption) <= MAX_LENGTH else f"{with_article(noun)} with {chosen[0]}"


def _with_part_colours(noun: str, paints: dict[str, Paint], areas: dict[str, float]) -> str:
    if len({paint.name for paint in paints.values()}) == 1:
        return with_article(f"{noun} all in {next(iter(paints.values())).name}")
    parts = sorted(
        (part for part in paints if not part.startswith("_")), key=areas.get, reverse=True
    )
    phrases = [
        f"{paints[part].name} {part}"
        if part.endswith("s") and not part.endswith("ss")
        else with_article(f"{paints[part].name} {part}")
        for part in parts[:2]
    ]
    return f"{with_article(noun)} with {' and '.join(phrases)}"
