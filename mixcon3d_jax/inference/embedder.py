"""A model and its CLIP on devices: prepared shapes, views and texts to embeddings."""

import functools
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, UInt8

from mixcon3d_jax.data.pipeline import PipelineConfig, evaluation_sample
from mixcon3d_jax.data.sampling import Sample, ViewPolicy
from mixcon3d_jax.errors import InputError, InputWarning
from mixcon3d_jax.inference.clip_of_model import ClipChoice, open_clip_of
from mixcon3d_jax.inference.programs import Programs
from mixcon3d_jax.inference.weights import ModelWeights
from mixcon3d_jax.models.clip_folder import ClipFolder
from mixcon3d_jax.models.prompts import class_phrase, embed_in_prompts
from mixcon3d_jax.progress import progress
from mixcon3d_jax.sharding import make_mesh

if TYPE_CHECKING:
    from mixcon3d_jax.inference.preparation import Prepared

Rows = Float[np.ndarray, "rows D"]
Views = Sequence[UInt8[np.ndarray, "height width 3"]]

# Images and texts that the CLIP embeds at once.
_IMAGES, _TEXTS = 96, 32


class Embedder:
    """What a model computes, on all devices of this process; rows are not of length 1.

    Attributes:
      weights: of the model.
      programs: its parts, compiled.

    Args:
      weights: of the model.
      clip: which CLIP to open when it is needed.
      batch_size: see `Programs`.
    """

    def __init__(self, weights: ModelWeights, clip: ClipChoice, batch_size: int | None) -> None:
        self.weights, self._choice = weights, clip
        self._mesh = make_mesh(1, -1, 1)
        self.programs = Programs(weights, self._mesh, batch_size)

    @property
    def batch_size(self) -> int:
        """Shapes of a batch."""
        return self.programs.batch_size

    @functools.cached_property
    def clip(self) -> ClipFolder:
        """The CLIP.

        Raises:
          InputError: if it can't be opened, or is another one than the model's.
        """
        return open_clip_of(self.weights.about, self._choice, self._mesh)

    @property
    def by_mode(self) -> dict[str, Callable[[Iterable[list["Prepared"]]], Iterator[Rows]]]:
        """What embeds batches of prepared shapes in each mode."""
        return {"point": self.points, "fused": self.fused}

    def points(self, batches: Iterable[list["Prepared"]]) -> Iterator[Rows]:
        """The rows of each batch of at most `batch_size` shapes, by their points."""
        arrays = (
            (np.stack([one.points for one in batch]), np.stack([one.colors for one in batch]))
            for batch in batches
        )
        return self.programs.rows_of(self.programs.points, arrays)

    def fused(self, batches: Iterable[list["Prepared"]]) -> Iterator[Rows]:
        """The same, by points and renders together."""
        for batch in batches:
            (point,) = self.points([batch])
            yield self.fuse(point, self.views([one.views for one in batch]))

    def examples(self, source: Sequence[dict[str, Any]], num_views: int, what: str) -> Rows:
        """A row for each stored example, drawn as evaluation does with seed 0.

        Args:
          source: of a data set.
          num_views: 0 for points alone; else so many of the stored view embeddings, evenly spaced,
            which have to be of the model's CLIP, are fused with them.
          what: a few words for the progress bar.
        """
        views = ViewPolicy(num_views, "spread") if num_views else None
        config = PipelineConfig(self.weights.about.config["data"]["num_points"], views, seed=0)
        starts = range(0, len(source), self.batch_size)

        def drawn() -> Iterator[list[Sample]]:
            for start in progress(starts, len(starts), what):
                end = min(start + self.batch_size, len(source))
                yield [evaluation_sample(source, index, config) for index in range(start, end)]

        programs = self.programs
        if not num_views:
            batches = (_stacked(batch, "points", "colors") for batch in drawn())
            return np.concatenate(list(programs.rows_of(programs.points, batches)))
        rows = []
        for batch in drawn():
            point = programs.all_rows(programs.points, *_stacked(batch, "points", "colors"))
            view = programs.all_rows(programs.views, *_stacked(batch, "view_embeddings"))
            rows.append(self.fuse(point, view))
        return np.concatenate(rows)

    def views(self, entries: Sequence[Views]) -> Rows:
        """A row for each entry, which may have several views.

        Raises:
          InputError: if the CLIP can't be opened, or the model has no weights to pool views with.
        """
        self._check_has("multi_view_proj")
        counts = np.array([len(views) for views in entries], int)
        flat = self.clip.embed_images((v for views in entries for v in views), batch_size=_IMAGES)
        starts = np.cumsum(counts) - counts
        rows = np.zeros((len(entries), self.clip.embedding_size), np.float32)
        for count in np.unique(counts):  # a program for each number of views
            which = np.flatnonzero(counts == count)
            views = flat[starts[which, None] + np.arange(count)]
            rows[which] = self.programs.all_rows(self.programs.views, views)
        return rows

    def fuse(self, point: Rows, image: Rows) -> Rows:
        """Rows of points and rows of views, fused.

        Raises:
          InputError: if the model has no weights to fuse with.
        """
        self._check_has("fusion")
        return self.programs.all_rows(self.programs.fuse, point, image)

    def texts(self, texts: Sequence[str]) -> Rows:
        """A row for each text as it is.

        Raises:
          InputError: if the CLIP can't be opened.
        """
        self._warn_of_cut(texts)
        rows = self.clip.embed_texts(list(texts), batch_size=_TEXTS)
        return self.programs.all_rows(self.programs.text, rows)

    def labels(self, labels: Sequence[str], templates: Sequence[str]) -> Rows:
        """A row for each class name: the mean over templates of the CLIP's embeddings, projected.

        Raises:
          InputError: if the CLIP can't be opened.
        """
        phrases = [class_phrase(label) for label in labels]
        self._warn_of_cut(phrases)
        rows = embed_in_prompts(self.clip, phrases, templates)
        return self.programs.all_rows(self.programs.text, rows)

    def _warn_of_cut(self, texts: Sequence[str]) -> None:
        for text, cut in zip(texts, self.clip.are_cut(list(texts)), strict=True):
            if cut:
                context = self.clip.config.text.context_length
                warnings.warn(
                    f"the text '{text[:40]}...' of {len(text):,} characters is longer than the "
                    f"CLIP reads ({context} tokens): only its beginning counts",
                    InputWarning,
                    stacklevel=4,
                )

    def _check_has(self, module: str) -> None:
        if module in self.weights.about.missing:
            raise InputError(
                f"{self.weights.place} has no trained {module}, which this needs; it can embed "
                "points and texts only"
            )


def _stacked(samples: list[Sample], *names: str) -> tuple[np.ndarray, ...]:
    return tuple(np.stack([sample[name] for sample in samples]) for name in names)
