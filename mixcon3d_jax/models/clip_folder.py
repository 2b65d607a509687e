"""A CLIP folder in Hugging Face layout: texts and images in, embeddings out."""

import functools
import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh, Sharding, SingleDeviceSharding
from jaxtyping import Array, Bool, Float, Int

from mixcon3d_jax.models.clip import (
    FLOAT32,
    LEGACY_EOS_ID,
    Clip,
    ClipConfig,
    Numerics,
    TextTower,
    VisionTower,
)
from mixcon3d_jax.models.clip_config import ClipError, import_transformers, read_config, read_json
from mixcon3d_jax.models.clip_hub import find_clip
from mixcon3d_jax.models.clip_images import ImagePreparation, RgbImage
from mixcon3d_jax.models.clip_weights import load_clip
from mixcon3d_jax.models.layers import normalize
from mixcon3d_jax.models.variables import Tree
from mixcon3d_jax.sharding import batch_sharding, global_array, local_rows, replicated

# A tokenizer keeps how it cuts, so only one thread may ask it at a time.
_TOKENIZING = threading.Lock()


def clip_id(folder: Path) -> str:
    """How data sets name this CLIP: `_name_or_path` of its config, else the folder's name.

    Raises:
      ClipError: `config.json` is missing or damaged.
    """
    return read_json(folder / "config.json").get("_name_or_path") or folder.resolve().name


def text_program(
    tower: TextTower, everywhere: Sharding | None = None
) -> tuple[Callable[[Tree, Array], Array], Tree]:
    """Token ids to embeddings of length 1, under `jax.jit`, and the weights that it takes first.

    Weights are an argument, so that XLA does not fold them into the program as constants.
    `everywhere` is where the embeddings are wanted: by each chip of a mesh, or as XLA likes.
    """
    structure, weights = nnx.split(tower)

    @functools.partial(jax.jit, out_shardings=everywhere)
    def embed_ids(clip, batch):
        return normalize(nnx.merge(structure, clip)(batch).astype(jnp.float32))

    return embed_ids, weights


def image_program(
    tower: VisionTower, to_tower: Callable[[Array], Array], everywhere: Sharding | None = None
) -> tuple[Callable[[Tree, Array], Array], Tree]:
    """Pixels (see `ImagePreparation`) to embeddings of length 1, and the weights as above."""
    structure, weights = nnx.split(tower)

    @functools.partial(jax.jit, out_shardings=everywhere)
    def embed_pixels(clip, batch):
        return normalize(nnx.merge(structure, clip)(to_tower(batch)).astype(jnp.float32))

    return embed_pixels, weights


@dataclass(frozen=True)
class ClipFolder:
    """A frozen CLIP with its tokenizer and its image processor.

    Attributes:
      folder: where it was read.
      id: how data sets name this CLIP.
      config: sizes of the towers.
      tokenizer: transformers' tokenizer of this folder.
      images: how images are brought to the vision tower.
      clip: the towers.
      mesh: whose chips share the weights and split a batch, or None.
    """

    folder: Path
    id: str
    config: ClipConfig
    tokenizer: object
    images: ImagePreparation
    clip: Clip
    mesh: Mesh | None
    _text_step: Callable[[Array], Array]
    _image_step: Callable[[Array], Array]

    @classmethod
    def load(
        cls, name: str | Path, numerics: Numerics = FLOAT32, mesh: Mesh | None = None
    ) -> "ClipFolder":
        """Reads a CLIP whole.

        Args:
          name: of its folder, or what else `find_clip` takes.  A folder holds `config.json`,
            safetensors (one file, or shards with their index), the tokenizer's files and
            `preprocessor_config.json`.
          numerics: dtypes and precision of the towers.
          mesh: whose chips share the weights; default: the first device has them all.

        Raises:
          ClipError: something is missing, damaged, or does not fit together.
        """
        folder, repository = find_clip(name)
        config = read_config(folder)
        tokenizer = _read_tokenizer(folder, config)
        images = ImagePreparation.read(folder, config.vision.image_size)
        clip = load_clip(folder, config, numerics, mesh)

        everywhere = mesh and replicated(mesh)
        embed_ids, text_weights = text_program(clip.text, everywhere)
        embed_pixels, image_weights = image_program(clip.vision, images.to_tower, everywhere)

        return cls(
            folder=folder,
            id=repository or clip_id(folder),
            config=config,
            tokenizer=tokenizer,
            images=images,
            clip=clip,
            mesh=mesh,
            _text_step=lambda ids: embed_ids(text_weights, ids),
            _image_step=lambda pixels: embed_pixels(image_weights, pixels),
        )

    @property
    def embedding_size(self) -> int:
        """Length of the embeddings."""
        return self.config.embedding_size

    @property
    def image_size(self) -> int:
        """Side of the square images that the vision tower sees, in pixels."""
        return self.config.vision.image_size

    def fingerprint(self) -> str:
        """Changes when the CLIP's name or the content of its files does."""
        total = hashlib.sha256(self.id.encode())
        for pattern in ("*.json", "*.txt", "*.safetensors"):
            for path in sorted(self.folder.glob(pattern)):
                state = path.stat()
                digest = _digest(path, state.st_size, state.st_mtime_ns)
                total.update(f"{path.name} {digest}".encode())
        return total.hexdigest()

    def token_ids(self, texts: list[str]) -> Int[np.ndarray, "texts context"]:
        """Ids of each text, cut to the context with its end kept, filled up with its end."""
        context = self.config.text.context_length
        if not texts:
            return np.empty((0, context), np.int32)
        with _TOKENIZING:
            rows = self.tokenizer(texts, truncation=True, max_length=context)["input_ids"]
        ids = np.empty((len(texts), context), np.int32)
        for filled, row in zip(ids, rows, strict=True):
            filled[: len(row)] = row
            filled[len(row) :] = row[-1]
        return ids

    def are_cut(self, texts: list[str]) -> Bool[np.ndarray, "texts"]:
        """Which texts are longer than the context."""
        if not texts:
            return np.zeros(0, bool)
        with _TOKENIZING:
            rows = self.tokenizer(texts, truncation=False, verbose=False)["input_ids"]
        return np.array([len(row) > self.config.text.context_length for row in rows])

    def embed_texts(
        self, texts: list[str], batch_size: int = 128
    ) -> Float[np.ndarray, "texts embedding"]:
        """Projected embeddings of length 1; a text longer than the context is cut."""
        return self._embed(texts, self.token_ids, self._text_step, batch_size)

    def embed_images(
        self, images: Iterable[RgbImage], batch_size: int = 128
    ) -> Float[np.ndarray, "images embedding"]:
        """Projected embeddings of length 1, of RGB images of any size."""
        return self._embed(images, self.images.pixels, self._image_step, batch_size)

    def _embed(
        self,
        items: Iterable,
        prepare: Callable[[list], np.ndarray],
        step: Callable[[Array], Array],
        batch_size: int,
    ) -> Float[np.ndarray, "rows embedding"]:
        """Runs `step` on batches filled up to `batch_size`, so that it is compiled once.

        While the device computes one batch, the host prepares the next.  The processes of a run
        call this with the same items together; each prepares those of its own devices.
        """
        embeddings = [np.zeros((0, self.embedding_size), np.float32)]
        running: list[tuple[Array, int]] = []

        def take() -> None:
            rows, count = running.pop()
            embeddings.append(np.asarray(rows)[:count])

        if self.mesh is None:
            sharding, filled_size = SingleDeviceSharding(jax.local_devices()[0]), batch_size
        else:
            sharding = batch_sharding(self.mesh)
            filled_size = batch_size + -batch_size % self.mesh.size
        own = local_rows(sharding, filled_size)
        for batch in _batches(items, batch_size):
            prepared = prepare([batch[row] for row in own if row < len(batch)])
            filled = np.zeros((len(own), *prepared.shape[1:]), prepared.dtype)
            filled[: len(prepared)] = prepared
            started = step(global_array(filled, own, sharding, filled_size))
            if running:
                take()
            running.append((started, len(batch)))
        if running:
            take()
        return np.concatenate(embeddings)


@functools.lru_cache
def _digest(path: Path, size: int, time_changed: int) -> str:
    """The hash of a file; computed once while its size and its time of change stay."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _batches(items: Iterable, size: int) -> Iterator[list]:
    items = iter(items)
    while batch := list(islice(items, size)):
        yield batch


def _read_tokenizer(folder: Path, config: ClipConfig):
    """The folder's tokenizer, checked against the text tower that will read its ids."""
    # Without any of these, transformers makes up an empty tokenizer instead of complaining.
    files = ("tokenizer.json", "vocab.json")
    if not any((folder / name).is_file() for name in files):
        raise ClipError(
            f"{folder}: no tokenizer (neither {' nor '.join(files)}). Download the folder "
            f"whole, or add the files that the tokenizer's save_pretrained writes."
        )
    try:
        tokenizer = import_transformers().AutoTokenizer.from_pretrained(
            folder, local_files_only=True
        )
    # tokenizers raises bare Exceptions on damaged files.
    except Exception as error:
        raise ClipError(
            f"{folder}: its tokenizer cannot be read ({error}). Download the tokenizer's "
            f"files again."
        ) from error
    text = config.text
    if len(tokenizer) > text.vocab_size:
        raise ClipError(
            f"{folder}: the tokenizer knows {len(tokenizer)} tokens, the text tower only "
            f"{text.vocab_size} (text_config.vocab_size). Use the tokenizer of these weights."
        )
    end = tokenizer("")["input_ids"][-1]
    if text.eos_id not in (end, LEGACY_EOS_ID):
        raise ClipError(
            f"{folder}: the tokenizer ends texts with id {end}, the text tower looks for "
            f"{text.eos_id} (text_config.eos_token_id). Use the tokenizer of these weights."
        )
    return tokenizer
