"""Weights of a CLIP, between Hugging Face's names and layouts and this package's."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding, Sharding, SingleDeviceSharding
from safetensors import SafetensorError, safe_open

from mixcon3d_jax.models.clip import FLOAT32, Clip, ClipConfig, Numerics
from mixcon3d_jax.models.clip_config import ClipError
from mixcon3d_jax.sharding import CLIP_RULES, spec_of

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"

# Tensors of a checkpoint that the towers have no use for: the temperature of CLIP's own training,
# and index buffers that old versions of transformers stored.
IGNORED_TENSORS = frozenset(
    {
        "logit_scale",
        "text_model.embeddings.position_ids",
        "vision_model.embeddings.position_ids",
    }
)


@dataclass(frozen=True)
class Tensor:
    """One row of the table of names.

    Attributes:
      ours: name of the parameter here, its path joined by dots.
      theirs: name of the tensor in a Hugging Face checkpoint.
      layout: `same`; `linear` (out, in), transposed here; or `patch`, a convolution's
        (out, channels, y, x), here a matrix ((y, x, channels), out).
    """

    ours: str
    theirs: str
    layout: str = "same"

    def to_ours(self, tensor: np.ndarray) -> np.ndarray:
        """The parameter, from the checkpoint's tensor."""
        if self.layout == "linear":
            return tensor.T
        if self.layout == "patch":
            return tensor.transpose(2, 3, 1, 0).reshape(-1, tensor.shape[0])
        return tensor

    def their_block(self, block: tuple[slice, ...]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        """What to read of the checkpoint's tensor, and what to take of that once it is ours."""
        every = slice(None)
        if self.layout == "linear":
            return block[::-1], (every, every)
        if self.layout == "patch":
            values, out = block
            return (out, every, every, every), (values, every)
        return block, (every,) * len(block)

    def to_theirs(self, parameter: np.ndarray, config: ClipConfig) -> np.ndarray:
        """The checkpoint's tensor, from the parameter."""
        if self.layout == "linear":
            return parameter.T
        if self.layout == "patch":
            patch, channels = config.vision.patch_size, config.vision.channels
            return parameter.reshape(patch, patch, channels, -1).transpose(3, 2, 0, 1)
        return parameter

    def their_shape(self, shape: tuple[int, ...], config: ClipConfig) -> tuple[int, ...]:
        """Shape in the checkpoint of a parameter of `shape`."""
        return self.to_theirs(np.broadcast_to(np.float32(0), shape), config).shape


def _linear(ours: str, theirs: str) -> Iterator[Tensor]:
    yield Tensor(f"{ours}.kernel", f"{theirs}.weight", "linear")
    yield Tensor(f"{ours}.bias", f"{theirs}.bias")


def _norm(ours: str, theirs: str) -> Iterator[Tensor]:
    yield Tensor(f"{ours}.scale", f"{theirs}.weight")
    yield Tensor(f"{ours}.bias", f"{theirs}.bias")


def _blocks(tower: str, layers: int) -> Iterator[Tensor]:
    for layer in range(layers):
        ours, theirs = f"{tower}.blocks.{layer}", f"{tower}_model.encoder.layers.{layer}"
        yield from _norm(f"{ours}.norm1", f"{theirs}.layer_norm1")
        yield from _linear(f"{ours}.attention.query", f"{theirs}.self_attn.q_proj")
        yield from _linear(f"{ours}.attention.key", f"{theirs}.self_attn.k_proj")
        yield from _linear(f"{ours}.attention.value", f"{theirs}.self_attn.v_proj")
        yield from _linear(f"{ours}.attention.out", f"{theirs}.self_attn.out_proj")
        yield from _norm(f"{ours}.norm2", f"{theirs}.layer_norm2")
        yield from _linear(f"{ours}.fc1", f"{theirs}.mlp.fc1")
        yield from _linear(f"{ours}.fc2", f"{theirs}.mlp.fc2")


def tensor_table(config: ClipConfig) -> list[Tensor]:
    """Every parameter of the towers, with its name and layout in a Hugging Face checkpoint."""
    vision, text = "vision_model.embeddings", "text_model.embeddings"
    return [
        Tensor("vision.patch_embedding.kernel", f"{vision}.patch_embedding.weight", "patch"),
        Tensor("vision.class_embedding", f"{vision}.class_embedding"),
        Tensor("vision.position_embedding", f"{vision}.position_embedding.weight"),
        # transformers' own spelling
        *_norm("vision.norm_before", "vision_model.pre_layrnorm"),
        *_blocks("vision", config.vision.layers),
        *_norm("vision.norm_after", "vision_model.post_layernorm"),
        Tensor("vision.projection.kernel", "visual_projection.weight", "linear"),
        Tensor("text.token_embedding", f"{text}.token_embedding.weight"),
        Tensor("text.position_embedding", f"{text}.position_embedding.weight"),
        *_blocks("text", config.text.layers),
        *_norm("text.norm_after", "text_model.final_layer_norm"),
        Tensor("text.projection.kernel", "text_projection.weight", "linear"),
    ]


def flat_parameters(clip: Clip) -> dict[str, jax.Array]:
    """Parameters of the towers (or their shapes, of an abstract module), by dotted name."""
    leaves = nnx.to_flat_state(nnx.state(clip, nnx.Param))
    return {".".join(map(str, path)): leaf[...] for path, leaf in leaves}


def load_clip(
    folder: Path, config: ClipConfig, numerics: Numerics = FLOAT32, mesh: Mesh | None = None
) -> Clip:
    """The towers with the weights of a Hugging Face folder.

    Each device's part of an array is read straight from the file, so that no host ever holds more
    than the parts of its own devices.

    Args:
      folder: holds `model.safetensors`, or its shards with `model.safetensors.index.json`.
      config: sizes, from the folder's `config.json`.
      numerics: dtypes and precision.
      mesh: whose chips share the weights; default: the first device has them all.

    Raises:
      ClipError: a file or tensor is missing, damaged, of another shape, or unknown.
    """
    abstract = nnx.eval_shape(lambda: Clip(config, rngs=nnx.Rngs(0), numerics=numerics))
    graph, state = nnx.split(abstract)
    shapes = {".".join(map(str, path)): leaf.shape for path, leaf in nnx.to_flat_state(state)}
    table = {tensor.ours: tensor for tensor in tensor_table(config)}
    with ExitStack() as stack:
        stored = _open_tensors(folder, stack)
        _check_names(folder, set(stored), {tensor.theirs for tensor in table.values()})
        flat = []
        for path, leaf in nnx.to_flat_state(state):
            tensor = table[".".join(map(str, path))]
            expected = tensor.their_shape(shapes[tensor.ours], config)
            shape = shapes[tensor.ours]
            read = _reader(folder, tensor, stored[tensor.theirs], expected, numerics.param_dtype)
            place = _placement(tensor.ours, shape, mesh)
            flat.append((path, leaf.replace(jax.make_array_from_callback(shape, place, read))))
    return nnx.merge(graph, nnx.from_flat_state(flat))


def _check_names(folder: Path, stored: set[str], known: set[str]) -> None:
    missing = sorted(known - stored)
    if missing:
        raise ClipError(
            f"{folder}: {len(missing)} tensor(s) missing from its safetensors, the first "
            f"'{missing[0]}'. Is config.json that of these weights, and is the download complete?"
        )
    extra = sorted(stored - known - IGNORED_TENSORS)
    if extra:
        raise ClipError(
            f"{folder}: {len(extra)} tensor(s) that config.json has no place for, the first "
            f"'{extra[0]}'. Use the config.json that belongs to these weights (CLIPModel)."
        )


def abstract_clip(config: ClipConfig, numerics: Numerics, mesh: Mesh) -> Clip:
    """Shapes, types and shardings of the towers that `load_clip` makes, without their weights."""
    graph, state = nnx.split(
        nnx.eval_shape(lambda: Clip(config, rngs=nnx.Rngs(0), numerics=numerics))
    )
    flat = []
    for path, leaf in nnx.to_flat_state(state):
        place = _placement(".".join(map(str, path)), leaf.shape, mesh)
        shape = jax.ShapeDtypeStruct(leaf.shape, numerics.param_dtype, sharding=place)
        flat.append((path, leaf.replace(shape)))
    return nnx.merge(graph, nnx.from_flat_state(flat))


def _placement(path: str, shape: tuple[int, ...], mesh: Mesh | None) -> Sharding:
    if mesh is None:
        return SingleDeviceSharding(jax.local_devices()[0])
    return NamedSharding(mesh, spec_of(path.replace(".", "/"), shape, mesh, CLIP_RULES))


def _reader(
    folder: Path, tensor: Tensor, file, expected: tuple[int, ...], dtype: jnp.dtype
) -> Callable[[tuple[slice, ...]], np.ndarray]:
    """Reads a block of a parameter, given by slices of it, from an open safetensors file."""
    stored = file.get_slice(tensor.theirs)
    shape = tuple(stored.get_shape())
    if shape != expected:
        raise ClipError(
            f"{folder}: tensor '{tensor.theirs}' has shape {shape}, but config.json says "
            f"{expected}. Use the config.json that belongs to these weights."
        )

    def read(block: tuple[slice, ...]) -> np.ndarray:
        inside, rest = tensor.their_block(block)
        return np.ascontiguousarray(tensor.to_ours(stored[inside])[rest], dtype)

    return read


def _open_tensors(folder: Path, stack: ExitStack) -> dict[str, object]:
    """The open safetensors file that holds each tensor, by the tensor's name."""
    index = folder / INDEX_FILE
    if (folder / WEIGHTS_FILE).exists() or not index.exists():
        file = _open(folder / WEIGHTS_FILE, stack)
        return dict.fromkeys(file.keys(), file)
    try:
        places = json.loads(index.read_text())["weight_map"]
    except (ValueError, KeyError, TypeError) as error:
        raise ClipError(
            f"{index}: not a safetensors index ({error!r}). Download it again."
        ) from error
    files = {name: _open(folder / name, stack) for name in sorted(set(places.values()))}
    for tensor, name in places.items():
        if tensor not in files[name].keys():  # noqa: SIM118 - a safetensors handle is no dict
            raise ClipError(
                f"{folder / name}: tensor '{tensor}', which {INDEX_FILE} says it holds, is "
                f"missing. Download this shard again."
            )
    return {tensor: files[name] for tensor, name in places.items()}


def _open(path: Path, stack: ExitStack):
    if not path.is_file():
        raise ClipError(
            f"{path}: no such file. A CLIP folder holds {WEIGHTS_FILE}, or its shards with "
            f"{INDEX_FILE}; convert other formats with transformers' save_pretrained."
        )
    try:
        return stack.enter_context(safe_open(path, framework="numpy"))
    except (SafetensorError, OSError) as error:
        raise ClipError(
            f"{path}: truncated or not a safetensors file ({error}). Download it again."
        ) from error


def checkpoint_tensors(clip: Clip, config: ClipConfig) -> dict[str, np.ndarray]:
    """The towers' parameters, under Hugging Face's names and in its layouts."""
    parameters = flat_parameters(clip)
    return {
        tensor.theirs: np.ascontiguousarray(
            tensor.to_theirs(np.asarray(parameters[tensor.ours]), config)
        )
        for tensor in tensor_table(config)
    }
