"""A trained model to use from Python: NumPy in and out.

    model = mixcon3d_jax.load("runs/my_assets")          # or an exported .pt or .safetensors
    shapes = model.embed_assets(["a.glb", "b.ply"], up_axis="y")
    found = model.classify(shapes, ["chair", "table", "lamp"])
    found.best, found.ranked(3), found.probabilities

Embeddings are float32 (rows, D), as the model gives them: not of length 1, since that is what
`fuse` takes.  `classify` brings them to length 1 itself; `unit_rows` does for cosines of one's own.
"""

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Num

from mixcon3d_jax.buckets import AnyPath
from mixcon3d_jax.errors import InputError, InputWarning
from mixcon3d_jax.extras import extra
from mixcon3d_jax.inference.classification import (
    TEMPERATURE_OF,
    Classification,
    check_labels,
    classify_among,
)
from mixcon3d_jax.inference.clip_of_model import ClipChoice
from mixcon3d_jax.inference.embedder import Embedder, Rows
from mixcon3d_jax.inference.images import AnyImage, views_of
from mixcon3d_jax.inference.weights import WeightSet, read_model
from mixcon3d_jax.models.prompts import PROMPT_TEMPLATES

if TYPE_CHECKING:
    from mixcon3d_jax.inference.files import EmbeddedFiles
    from mixcon3d_jax.inference.inputs import AssetFile
    from mixcon3d_jax.inference.preparation import Preparation

Mode = Literal["point", "fused"]


def load(
    path: str | AnyPath,
    *,
    weights: WeightSet = "ema",
    clip: str | None = None,
    clip_id: str | None = None,
    clip_dtype: str = "float32",
    batch_size: int | None = None,
) -> "Model":
    """Loads a trained model onto all devices of this process.

    Args:
      path: a workdir (its newest checkpoint), a checkpoint in it, or an exported file.
      weights: the running averages, or what training moves.
      clip: the CLIP for texts and images: a folder, `small`, or a name on the hub.  Default: the
        one that the model was trained with.  It is opened when it is needed.
      clip_id: the name of that CLIP, where the folder says another one.
      clip_dtype: of its towers, `float32` or `bfloat16`.
      batch_size: shapes that are embedded at once; default 16 on a CPU, else 64.

    Raises:
      InputError: if there is no such model.
    """
    choice = ClipChoice(clip, clip_id, clip_dtype)
    return Model(Embedder(read_model(path, weights), choice, batch_size))


class Model:
    """A trained model; `load` makes one.

    Attributes:
      embedder: what it computes, on its devices.
      weights: what was loaded; `weights.about` says what they are.
      num_points: points that the model sees of a shape.
    """

    def __init__(self, embedder: Embedder):
        self.embedder = embedder
        self.weights = embedder.weights
        self.num_points: int = self.weights.about.config["data"]["num_points"]
        self._names: dict[tuple[str, tuple[str, ...]], Rows] = {}

    @property
    def modes(self) -> tuple[Mode, ...]:
        """How it can look at shapes: one without weights to fuse with sees points alone."""
        fuses = not {"multi_view_proj", "fusion"} & set(self.weights.about.missing)
        return ("point", "fused") if fuses else ("point",)

    def embed_points(
        self,
        points: Sequence[Num[np.ndarray, "points 3"]],
        colors: Sequence[Num[np.ndarray, "points 3"]] | None = None,
        *,
        up_axis: Literal["y", "z"] | None = None,
        drawn: bool = False,
    ) -> Rows:
        """Embeds point clouds.

        Args:
          points: clouds of any numbers of points, in any units.
          colors: sRGB of each; integers count 0..255, floats 0..1.  None is 0.4 grey.
          up_axis: the axis that points up in them; it has to be said.
          drawn: the clouds have `num_points` points in random order, which are taken as they are.
            Else so many are drawn, always the same ones of the same cloud.

        Raises:
          InputError: if a cloud can't be used; the message says which.
        """
        with extra("prep", "embedding points"):
            from mixcon3d_jax.inference.clouds import prepare_clouds
        prepared = prepare_clouds(points, colors, up_axis, drawn, self.preparation("point"))
        size = self.embedder.batch_size
        batches = (prepared[start : start + size] for start in range(0, len(prepared), size))
        return np.concatenate(list(self.embedder.points(batches)))

    def embed_assets(
        self,
        paths: Iterable[str | Path],
        up_axis: Literal["y", "z"] | None = None,
        *,
        mode: Mode = "point",
        workers: int = 0,
    ) -> Rows:
        """Embeds the meshes and point clouds in files; a row for each.

        Args:
          paths: files, folders and manifests.
          up_axis: the axis that points up in them; None leaves it to formats that define one.
          mode: by points, or fused with 12 renders.
          workers: processes that load and render; 0: threads.  Processes want the calling script
            to guard its main part by `if __name__ == "__main__"`.

        Raises:
          InputError: if a file can't be used; `embed_files` leaves such out.
        """
        with extra("prep", "reading 3D files"):
            from mixcon3d_jax.inference.inputs import find_assets
        files = find_assets(paths, up_axis)
        found = self.embed_files(files, mode=mode, workers=workers, strict=True)
        for file, note in found.notes:
            warnings.warn(f"{file.path}: {note}", InputWarning, stacklevel=2)
        return found.embeddings

    def embed_files(
        self,
        files: Sequence["AssetFile"],
        *,
        mode: Mode = "point",
        workers: int = 0,
        strict: bool = False,
        shown: bool = False,
    ) -> "EmbeddedFiles":
        """Embeds what `find_assets` found, without files that can't be used, and says which.

        See `inference.files.embed_files`.
        """
        with extra("prep", "reading 3D files"):
            from mixcon3d_jax.inference.files import embed_files
        embed = self.embedder.by_mode.get(mode)
        if embed is None:
            raise InputError(f"mode {mode!r}: say 'point' or 'fused'")
        return embed_files(
            files,
            self.preparation(mode),
            embed,
            self.embedder.batch_size,
            workers=workers,
            strict=strict,
            shown=shown,
        )

    def embed_text(self, texts: Sequence[str]) -> Rows:
        """Embeds texts as they are; what is longer than the CLIP reads is cut, with a warning.

        Raises:
          InputError: if the CLIP can't be opened.
        """
        return self.embedder.texts([texts] if isinstance(texts, str) else texts)

    def embed_images(self, images: Sequence[AnyImage | Sequence[AnyImage]]) -> Rows:
        """Embeds images; an entry may be several views of one object, which become one row.

        Args:
          images: paths, Pillow's images, or uint8 arrays (height, width, 3); lists of these.

        Raises:
          InputError: if one is no image, or the CLIP can't be opened.
        """
        return self.embedder.views([views_of(entry, i) for i, entry in enumerate(images)])

    def fuse(self, point: Rows, image: Rows) -> Rows:
        """Fuses embeddings of shapes' points with those of their images, row by row."""
        point, image = self._checked(point), self._checked(image)
        if len(point) != len(image):
            raise InputError(f"{len(point)} rows of points, but {len(image)} of images")
        return self.embedder.fuse(point, image)

    def classify(
        self,
        shapes: Rows,
        labels: Sequence[str],
        *,
        mode: Literal["point", "image", "fused"] = "point",
        templates: Sequence[str] = PROMPT_TEMPLATES,
    ) -> Classification:
        """Compares shapes with class names, as evaluation does.

        Args:
          shapes: embeddings of this model.
          labels: class names; `_` counts as a space.
          mode: what the embeddings are of: it says by which trained temperature cosines become
            probabilities.
          templates: prompts that the names are put into; a name's embedding is the mean of them.

        Raises:
          InputError: if there are fewer than two names, or the CLIP can't be opened.
        """
        labels = tuple(labels)
        check_labels(labels)
        if mode not in TEMPERATURE_OF:
            raise InputError(f"mode {mode!r}: say one of {', '.join(TEMPERATURE_OF)}")
        names = self._embedded_names(labels, tuple(templates))
        scale = np.exp(self.weights.arrays[f"logit_scales/{TEMPERATURE_OF[mode]}"])
        return classify_among(labels, self._checked(shapes), names, float(scale))

    def _embedded_names(self, labels: tuple[str, ...], templates: tuple[str, ...]) -> Rows:
        """A row for each name; those that were asked for before are remembered."""
        new = [label for label in dict.fromkeys(labels) if (label, templates) not in self._names]
        if new:
            rows = self.embedder.labels(new, templates)
            self._names |= {(label, templates): row for label, row in zip(new, rows, strict=True)}
        return np.stack([self._names[label, templates] for label in labels])

    def preparation(self, mode: Mode) -> "Preparation":
        """How assets are prepared for a mode."""
        with extra("prep", "reading 3D files"):
            from mixcon3d_jax.inference.preparation import Preparation
        size = self.embedder.clip.image_size if mode == "fused" else 0
        return Preparation(self.num_points, self.weights.about.up_axis, size)

    def _checked(self, rows: Rows) -> Rows:
        rows = np.asarray(rows, np.float32)
        size = self.weights.about.config["clip"]["embedding_size"]
        if rows.ndim != 2 or rows.shape[1] != size:
            raise InputError(f"embeddings of shape {rows.shape}; give (rows, {size})")
        return rows
