"""A CLIP folder in Hugging Face layout: texts and images in, embeddings out."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, UInt8
from PIL import Image

from mixcon3d_jax.models.clip import FLOAT32, LEGACY_EOS_ID, ClipConfig, Numerics
from mixcon3d_jax.models.clip_config import ClipError, import_transformers, read_config, read_json
from mixcon3d_jax.models.clip_images import ImagePreparation
from mixcon3d_jax.models.clip_weights import load_clip
from mixcon3d_jax.models.layers import normalize


def small_clip_folder() -> Path:
    """The folder of the small CLIP that ships with this package."""
    return Path(__file__).parent.parent / "small_clip"


def clip_id(folder: Path) -> str:
    """How data sets name this CLIP: `_name_or_path` of its config, else the folder's name.

    Raises:
      ClipError: `config.json` is missing or damaged.
    """
    return read_json(folder / "config.json").get("_name_or_path") or folder.resolve().name


@dataclass(frozen=True)
class ClipFolder:
    """A frozen CLIP with its tokenizer and its image processor.

    Attributes:
      folder: where it was read.
      id: how data sets name this CLIP.
      config: sizes of the towers.
      tokenizer: transformers' tokenizer of this folder.
      images: how images are brought to the vision tower.
    """

    folder: Path
    id: str
    config: ClipConfig
    tokenizer: object
    images: ImagePreparation
    _text_step: Callable[[Array], Array]
    _image_step: Callable[[Array], Array]

    @classmethod
    def load(cls, folder: str | Path, numerics: Numerics = FLOAT32) -> "ClipFolder":
        """Reads a folder whole.

        Args:
          folder: holds `config.json`, safetensors (one file, or shards with their index), the
            tokenizer's files and `preprocessor_config.json`.
          numerics: dtype and precision of the towers.

        Raises:
          ClipError: something is missing, damaged, or does not fit together.
        """
        folder = Path(folder)
        config = read_config(folder)
        tokenizer = _read_tokenizer(folder, config)
        images = ImagePreparation.read(folder, config.vision.image_size)
        clip = load_clip(folder, config, numerics)

        text_graph, text_params = nnx.split(clip.text)
        image_graph, image_params = nnx.split(clip.vision)

        # Parameters are arguments, so that XLA does not fold them into the program as constants.
        @jax.jit
        def embed_ids(params, ids):
            return normalize(nnx.merge(text_graph, params)(ids))

        @jax.jit
        def embed_pixels(params, pixels):
            return normalize(nnx.merge(image_graph, params)(images.to_tower(pixels)))

        return cls(
            folder=folder,
            id=clip_id(folder),
            config=config,
            tokenizer=tokenizer,
            images=images,
            _text_step=lambda ids: embed_ids(text_params, ids),
            _image_step=lambda pixels: embed_pixels(image_params, pixels),
        )

    @property
    def embedding_size(self) -> int:
        """Length of the embeddings."""
        return self.config.embedding_size

    @property
    def image_size(self) -> int:
        """Side of the square images that the vision tower sees, in pixels."""
        return self.config.vision.image_size

    def token_ids(self, texts: list[str]) -> Int[np.ndarray, "texts context"]:
        """Ids of each text, cut to the context with its end kept, filled up with its end."""
        context = self.config.text.context_length
        rows = self.tokenizer(texts, truncation=True, max_length=context)["input_ids"]
        ids = np.empty((len(texts), context), np.int32)
        for filled, row in zip(ids, rows, strict=True):
            filled[: len(row)] = row
            filled[len(row) :] = row[-1]
        return ids

    def embed_texts(
        self, texts: list[str], batch_size: int = 128
    ) -> Float[np.ndarray, "texts embedding"]:
        """Projected embeddings of length 1; a text longer than the context is cut."""
        batches = (self.token_ids(batch) for batch in _batches(texts, batch_size))
        return self._embed(batches, self._text_step, batch_size)

    def embed_images(
        self,
        images: Iterable[UInt8[np.ndarray, "height width 3"] | Image.Image],
        batch_size: int = 128,
    ) -> Float[np.ndarray, "images embedding"]:
        """Projected embeddings of length 1, of RGB images of any size."""
        batches = (self.images.pixels(batch) for batch in _batches(images, batch_size))
        return self._embed(batches, self._image_step, batch_size)

    def _embed(
        self,
        batches: Iterable[np.ndarray],
        step: Callable[[Array], Array],
        batch_size: int,
    ) -> Float[np.ndarray, "rows embedding"]:
        """Runs `step` on batches filled up to `batch_size`, so that it is compiled once."""
        embeddings = [np.zeros((0, self.embedding_size), np.float32)]
        for batch in batches:
            filled = np.zeros((batch_size, *batch.shape[1:]), batch.dtype)
            filled[: len(batch)] = batch
            embeddings.append(np.asarray(step(jnp.asarray(filled)))[: len(batch)])
        return np.concatenate(embeddings)


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
