"""Which model weights belong to, read from their shapes."""

import dataclasses
import re
from collections import Counter
from collections.abc import Mapping

from ml_collections import ConfigDict

from mixcon3d_jax.exchange.pytorch_names import WeightsError
from mixcon3d_jax.models.pointbert import SCALINGS, PointBERTConfig
from mixcon3d_jax.models.transformer import HEAD_WIDTH
from mixcon3d_jax.training.run_config import model_config

# `NAME` -> shape, of one group of a checkpoint.
Shapes = Mapping[str, tuple[int, ...]]

# Projections and fusion, which are all linear or all of two layers.
HEADS = ("text_proj", "image_proj", "pc_img_proj")

_BLOCK = r"ppat\.transformer\.layers\.(\d+)"
# The dimensions that shapes tell: from the length of which arrays' first axis, and how many rows
# there make one.  The others (patches, radius, neighbors) leave no trace in the weights.
_ROWS: dict[str, tuple[str, int]] = {
    "dim": (rf"ppat\.cls_token|ppat\.lift\.2\.\w+|{_BLOCK}\.[01]\.norm\.\w+", 1),
    "heads": (rf"{_BLOCK}\.0\.fn\.to_qkv\.weight", 3 * HEAD_WIDTH),
    "mlp_dim": (rf"{_BLOCK}\.1\.fn\.net\.0\.(weight|bias)", 1),
    "sa_dim": (r"ppat\.sa\.(mlp_convs\.2|mlp_bns\.2)\.\w+", 1),
}
_EMBEDDING = r"proj\.(weight|bias)"


@dataclasses.dataclass(frozen=True)
class Dimensions:
    """What an encoder's shapes tell about it."""

    dim: int
    depth: int
    heads: int
    mlp_dim: int
    sa_dim: int

    def __str__(self) -> str:
        return ", ".join(f"{key} {value}" for key, value in dataclasses.asdict(self).items())

    @classmethod
    def of(cls, encoder: PointBERTConfig) -> "Dimensions":
        """Those of a known encoder."""
        return cls(**{f.name: getattr(encoder, f.name) for f in dataclasses.fields(cls)})

    @property
    def scaling(self) -> int | None:
        """The number in `SCALINGS`, if it is one of these."""
        return next((n for n, known in SCALINGS.items() if Dimensions.of(known) == self), None)

    @property
    def name(self) -> str:
        """What to call such an encoder."""
        return f"scaling {self.scaling}" if self.scaling else "an encoder of its own"


def read_dimensions(encoder: Shapes) -> Dimensions:
    """The dimensions of the encoder with these weights.

    Each is what most of its arrays say, so that a single one of a wrong shape is found out by
    comparison afterwards.

    Raises:
      WeightsError: if arrays that tell a dimension are missing.
    """
    found = {name: next(iter(_said(encoder, *rule)), 0) for name, rule in _ROWS.items()}
    blocks = {int(match[1]) for name in encoder if (match := re.match(_BLOCK, name))}
    found["depth"] = len(blocks)
    unknown = [name for name, value in found.items() if not value]
    if unknown:
        raise WeightsError(
            f"these are no weights of a PointBERT: {', '.join(unknown)} can't be read from them; "
            f"their names are {_some(encoder)}"
        )
    return Dimensions(**found)


def fit_model(config: ConfigDict, groups: Mapping[str, Shapes], scaling: int | None) -> str:
    """Sets the keys of `config.model` that shapes tell: scaling, encoder, head.

    Args:
      config: of a run; changed.
      groups: shapes of a checkpoint's weights.
      scaling: what the user says that the encoder is; None to find out.

    Returns:
      What was found, for people.

    Raises:
      WeightsError: if the shapes contradict `scaling` or the config's CLIP, or are of no PointBERT.
    """
    encoder = groups.get("state_dict", {})
    found = read_dimensions(encoder)
    _fit_encoder(config, found, scaling)
    heads = [groups[head] for head in HEADS if head in groups]
    config.model.head = "mlp" if any("fc1.weight" in head for head in heads) else "linear"
    sizes = _said(encoder, _EMBEDDING, 1)
    if sizes and config.clip.embedding_size not in sizes:
        raise WeightsError(
            f"its embeddings have {sizes[0]} entries, those of the config's CLIP "
            f"{config.clip.id!r} {config.clip.embedding_size}; give the CLIP that it was trained "
            f"with as --config.clip.id=NAME --config.clip.embedding_size={sizes[0]}"
        )
    model = model_config(config)
    return (
        f"its shapes say: {found.name} ({found}), {model.head} heads, embeddings of "
        f"{model.embedding_size}; the config says: {model.encoder.patches} patches of "
        f"{model.encoder.neighbors} points, radius {model.encoder.radius}, views pooled by "
        f"{model.view_pooling}"
    )


def _fit_encoder(config: ConfigDict, found: Dimensions, scaling: int | None) -> None:
    """Sets `config.model.scaling` and the overrides in `config.model.encoder`."""
    if scaling is not None and Dimensions.of(SCALINGS[scaling]) != found:
        raise WeightsError(
            f"--scaling={scaling} has {Dimensions.of(SCALINGS[scaling])}, but the weights have "
            f"{found}, {found.name}; leave --scaling out to take what they are"
        )
    if scaling is None and Dimensions.of(model_config(config).encoder) == found:
        return
    scaling = scaling or found.scaling
    overrides = {} if scaling else dataclasses.asdict(found)
    config.model.scaling = scaling or config.model.scaling
    for field in dataclasses.fields(Dimensions):
        config.model.encoder[field.name] = overrides.get(field.name)


def _said(shapes: Shapes, pattern: str, rows: int) -> list[int]:
    """What arrays say about a dimension, what most of them say first."""
    said = Counter(
        shape[0] // rows for name, shape in shapes.items() if re.fullmatch(pattern, name) and shape
    )
    return [value for value, _ in said.most_common()]


def _some(names: Mapping) -> str:
    first = list(names)[:5]
    return (", ".join(first) or "none at all") + (", ..." if len(names) > 5 else "")
