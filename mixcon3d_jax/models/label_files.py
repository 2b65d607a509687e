"""Lists of class names and of prompt templates in files."""

import json
from collections import Counter
from pathlib import Path

from mixcon3d_jax.errors import InputError
from mixcon3d_jax.models.prompts import class_phrase


class LabelsError(InputError):
    """A list of labels or templates that can't be used."""


def labels_of(given: str) -> tuple[str, ...]:
    """Names separated by commas, or those in the file that `given` names (see `read_labels`).

    Raises:
      LabelsError: there is no such file, a name is empty, or a class is named twice.
    """
    path = Path(given)
    if path.suffix in (".txt", ".json") or path.is_file() or "/" in given:
        return read_labels(path)
    return labels_in(given, "--labels")


def labels_in(text: str, where: str) -> tuple[str, ...]:
    """Names separated by commas.

    Args:
      text: the names.
      where: they were given, for errors.

    Raises:
      LabelsError: a name is empty, or a class is named twice.
    """
    return _checked(where, [name.strip() for name in text.split(",")])


def read_labels(path: Path) -> tuple[str, ...]:
    """The names in a JSON list (`.json`) or in a text file with a name a line.

    Raises:
      LabelsError: it can't be read, is empty, or names a class twice.
    """
    if path.suffix == ".json":
        labels = [label.strip() for label in _read_json_list(path)]
    else:
        labels = [line.strip() for line in _read_text(path).splitlines() if line.strip()]
    return _checked(str(path), labels)


def _checked(where: str, labels: list[str]) -> tuple[str, ...]:
    if not any(labels):
        raise LabelsError(f"{where} names no class")
    if "" in labels:
        raise LabelsError(f"{where}: the name of class {labels.index('')} is empty")
    twice = [name for name, n in Counter(map(class_phrase, labels)).items() if n > 1]
    if twice:
        raise LabelsError(f"{where} names the class {twice[0]!r} more than once")
    return tuple(labels)


def read_templates(path: Path) -> tuple[str, ...]:
    """The prompt templates in a JSON list.

    Raises:
      LabelsError: it can't be read, is empty, or one has no `{}`.
    """
    templates = _read_json_list(path)
    if not templates:
        raise LabelsError(f"{path} has no template")
    for index, template in enumerate(templates):
        if "{}" not in template:
            raise LabelsError(f"{path}: template {index}, {template!r}, has no {{}} for the name")
    return tuple(templates)


def _read_json_list(path: Path) -> list[str]:
    try:
        content = json.loads(_read_text(path))
    except ValueError as error:
        raise LabelsError(f"{path} is no JSON file ({error})") from error
    if not isinstance(content, list) or not all(isinstance(entry, str) for entry in content):
        raise LabelsError(f"{path} is no JSON list of strings")
    return content


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise LabelsError(f"{path} can't be read as text ({reason})") from error
