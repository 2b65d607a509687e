"""The small CLIP's training step: augmentation, contrastive losses, and the tokens left out."""

from functools import partial

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, UInt8

from mixcon3d_jax.models.clip import VisionTower
from mixcon3d_jax.models.layers import normalize

MAX_LOGIT_SCALE = 4.6052  # ln 100, as in CLIP
WORD_SCALE = 20.0
WORD_WEIGHT = 0.2


def augment(
    images: UInt8[Array, "batch size size 3"], key: PRNGKeyArray
) -> Float[Array, "batch size size 3"]:
    """Zoom, shift, mirror and another exposure, in [0, 1]; what comes into view is white."""
    size = images.shape[1]
    ink = 1 - images.astype(jnp.float32) / 255

    def one(picture: Float[Array, "size size 3"], key: PRNGKeyArray):
        zoom_key, shift_key, mirror_key, light_key = jax.random.split(key, 4)
        zoom = jnp.exp(jax.random.uniform(zoom_key, (2,), minval=-0.25, maxval=0.1))
        room = 0.5 * size * jnp.abs(1 - zoom) + 2
        shift = jax.random.uniform(shift_key, (2,), minval=-1, maxval=1) * room
        shift = shift + 0.5 * size * (1 - zoom)
        picture = jax.image.scale_and_translate(
            picture, picture.shape, (0, 1), zoom, shift, method="linear"
        )
        picture = jnp.where(jax.random.bernoulli(mirror_key), picture[:, ::-1], picture)
        # Scales what is not white towards white or black.
        light = jnp.exp(jax.random.uniform(light_key, (), minval=-0.15, maxval=0.1))
        return 1 - jnp.clip(picture * light, 0, 1)

    return jax.vmap(one)(ink, jax.random.split(key, len(images)))


def keep_patches(
    vision: VisionTower, images: Float[Array, "batch size size 3"], keep: int, key: PRNGKeyArray
) -> Int[Array, "batch keep"]:
    """Which patches to read: first those that are not white, in random order, then white ones.

    As FLIP does (https://arxiv.org/abs/2212.00794), but renders are mostly white, and white patches
    say nothing.
    """
    ink = jnp.max(1 - vision.patchify(images), axis=-1) > 0.02
    order = ink + jax.random.uniform(key, ink.shape)
    return jax.lax.top_k(order, keep)[1]


def embed_kept(
    vision: VisionTower,
    images: Float[Array, "batch size size 3"],
    kept: Int[Array, "batch keep"],
) -> Float[Array, "batch embedding"]:
    """Embeddings, not normalised, from the class token and the kept patches' tokens alone."""
    tokens = vision.embed((images - 0.5) / 0.5)
    patches = jnp.take_along_axis(tokens[:, 1:], kept[:, :, None], axis=1)
    return vision.encode(jnp.concatenate([tokens[:, :1], patches], axis=1))


def pairing_loss(
    logits: Float[Array, "rows columns"], true: Bool[Array, "rows columns"]
) -> Float[Array, ""]:
    """Cross-entropy of each true pair against the false pairs of its row alone.

    True pairs do not compete with one another.  Averaged over the true pairs of a row, then over
    rows.
    """
    against = jax.nn.logsumexp(jnp.where(true, -jnp.inf, logits), axis=1, keepdims=True)
    losses = jnp.where(true, jax.nn.softplus(against - logits), 0)
    return jnp.mean(losses.sum(axis=1) / jnp.maximum(true.sum(axis=1), 1))


def total_loss(
    params: dict, graph: nnx.GraphDef, batch: dict[str, Array], key: PRNGKeyArray, keep: int
) -> Float[Array, ""]:
    """Image against text both ways, and made-up words against one another and the texts."""
    clip = nnx.merge(graph, params["clip"])
    augment_key, keep_key = jax.random.split(key)
    images = augment(batch["images"], augment_key)
    kept = keep_patches(clip.vision, images, keep, keep_key)
    image = normalize(embed_kept(clip.vision, images, kept))
    text = normalize(clip.text(batch["ids"]))
    texts = batch["true"].shape[1]
    own, first, second = jnp.split(text, [texts, (len(text) + texts) // 2])

    logits = image @ own.T * jnp.exp(params["logit_scale"])
    pairs = (pairing_loss(logits, batch["true"]) + pairing_loss(logits.T, batch["true"].T)) / 2
    others = jnp.concatenate([second, own])
    words = pairing_loss(
        first @ others.T * WORD_SCALE, jnp.eye(len(first), len(others), dtype=bool)
    )
    return pairs + WORD_WEIGHT * words


@partial(
    jax.jit, static_argnames=("graph", "optimizer", "keep"), donate_argnames=("params", "state")
)
def train_step(
    params: dict,
    state: optax.OptState,
    batch: dict[str, Array],
    key: PRNGKeyArray,
    *,
    graph: nnx.GraphDef,
    optimizer: optax.GradientTransformation,
    keep: int,
) -> tuple[dict, optax.OptState, Float[Array, ""]]:
    """One update.

    Args:
      params: `clip` (the towers' state) and `logit_scale` (a logarithm).
      state: of the optimiser.
      batch: `images` (n, size, size, 3) uint8; `ids` of the texts, then of the made-up words in
        one prompt, then in another; `true` (n, texts).
      key: of augmentation and of the choice of patches.
      graph: of the towers.
      optimizer: what turns gradients into updates.
      keep: number of patches that the vision tower reads.
    """
    loss, gradients = jax.value_and_grad(total_loss)(params, graph, batch, key, keep)
    updates, state = optimizer.update(gradients, state, params)
    params = optax.apply_updates(params, updates)
    params["logit_scale"] = jnp.clip(params["logit_scale"], 0, MAX_LOGIT_SCALE)
    return params, state, loss
