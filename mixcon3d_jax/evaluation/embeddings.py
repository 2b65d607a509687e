"""The embeddings of shapes, by each way of looking at them."""

from collections.abc import Collection, Mapping

from jaxtyping import Array, Float

from mixcon3d_jax.data.clouds import unpack_clouds
from mixcon3d_jax.models.mixcon3d import MixCon3D


def shape_embeddings(
    model: MixCon3D, batch: Mapping[str, Array], missing: Collection[str] = ()
) -> dict[str, Float[Array, "batch D"]]:
    """The embeddings of shapes, not normalised, for each way of looking at them.

    `point`: the cloud.  `image`: the first view.  `image_multiview`: all views, pooled.
    `fused`, `fused_multiview`: the fusion head on the cloud and those.  Shapes without views have
    `point` alone.

    Args:
      model: with its weights.
      batch: `points`, `colors` and, where shapes have views, `view_embeddings`.
      missing: modules whose weights mean nothing (`fusion`, `multi_view_proj`); modes that need
        them are left out.
    """
    point = model.embed_points(*unpack_clouds(batch["points"], batch["colors"]))
    found = {"point": point}
    if "view_embeddings" not in batch or "multi_view_proj" in missing:
        return found
    first_view = model.embed_views(batch["view_embeddings"][:, :1])
    views = model.embed_views(batch["view_embeddings"])
    found |= {"image": first_view, "image_multiview": views}
    if "fusion" not in missing:
        found["fused"] = model.fuse(point, first_view)
        found["fused_multiview"] = model.fuse(point, views)
    return found
