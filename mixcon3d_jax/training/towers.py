"""A frozen CLIP's towers in the training step: renders and token ids in, targets out.

Their weights are an argument of the step beside the state: no optimiser, average or checkpoint has
them.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float, UInt8

from mixcon3d_jax.models.clip import Clip
from mixcon3d_jax.models.layers import normalize
from mixcon3d_jax.models.variables import Tree
from mixcon3d_jax.sharding import MESH_AXES


@dataclasses.dataclass(frozen=True)
class Towers:
    """What the towers compute, without their weights.

    Attributes:
      structure: of the `Clip`.
      to_tower: scales and normalises pixels (see `ImagePreparation.to_tower`).
      images_at_once: images that a chip embeds at once, at most.
    """

    structure: nnx.GraphDef
    to_tower: Callable[[UInt8[Array, "..."]], Float[Array, "..."]]
    images_at_once: int

    @classmethod
    def of(
        cls,
        clip: Clip,
        to_tower: Callable[[UInt8[Array, "..."]], Float[Array, "..."]],
        images_at_once: int,
    ) -> tuple["Towers", Tree]:
        """The towers of a `Clip` (it may be abstract), and their weights."""
        structure, weights = nnx.split(clip)
        return cls(structure, to_tower, images_at_once), weights

    def embed(self, weights: Tree, batch: dict[str, Array], mesh: Mesh) -> dict[str, Array]:
        """A batch with embeddings in place of pixels and ids.

        Args:
          weights: of the towers.
          batch: has `view_pixels` (B, M, size, size, 3), `text_ids` (B, context), `has_text` (B,).
          mesh: that the rows are split over.

        Returns:
          The other arrays, and `view_embeddings` (B, M, D) and `text_embedding` (B, D), float32 of
          length 1; zeros for rows without text.
        """
        clip = nnx.merge(self.structure, weights)

        def embed_images(pixels: UInt8[Array, "n size size 3"]) -> Float[Array, "n D"]:
            return normalize(clip.vision(self.to_tower(pixels)).astype(jnp.float32))

        text = normalize(clip.text(batch["text_ids"]).astype(jnp.float32))
        rest = {k: v for k, v in batch.items() if k not in ("view_pixels", "text_ids")}
        return rest | {
            "view_embeddings": in_chunks(
                embed_images, batch["view_pixels"], mesh, self.images_at_once
            ),
            "text_embedding": jnp.where(batch["has_text"][:, None], text, 0.0),
        }


def in_chunks(
    embed: Callable[[UInt8[Array, "n size size 3"]], Float[Array, "n D"]],
    pixels: UInt8[Array, "batch views size size 3"],
    mesh: Mesh,
    at_once: int,
) -> Float[Array, "batch views D"]:
    """`embed` of all images, so that each chip has at most `at_once` of its own in the works.

    Args:
      embed: images of all chips to embeddings.
      pixels: rows split over all axes of the mesh.
      mesh: that the rows are split over.
      at_once: images a chip; the largest divisor of a chip's images up to this is taken.
    """
    batch, views, *image = pixels.shape
    chips = mesh.size
    images = batch // chips * views
    chunk = max(n for n in range(1, min(at_once, images) + 1) if images % n == 0)
    split = NamedSharding(mesh, P(None, MESH_AXES))
    # (chips, chunks, chunk): the rows stay on the chip that has them.
    chunks = pixels.reshape(chips, images // chunk, chunk, *image).swapaxes(0, 1)
    chunks = jax.lax.with_sharding_constraint(chunks, split)

    def embed_chunk(part: UInt8[Array, "chips chunk size size 3"]) -> Float[Array, "chips chunk D"]:
        rows = jax.lax.with_sharding_constraint(
            part.reshape(chips * chunk, *image), NamedSharding(mesh, P(MESH_AXES))
        )
        return embed(rows).reshape(chips, chunk, -1)

    embeddings = jax.lax.map(embed_chunk, chunks).swapaxes(0, 1)
    return embeddings.reshape(batch, views, -1)
