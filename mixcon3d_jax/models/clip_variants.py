"""The published CLIPs that targets are usually made with, by the name of their repository."""

from mixcon3d_jax.models.clip import LEGACY_EOS_ID, ClipConfig, TextConfig, VisionConfig

# What all of them share.
_VOCABULARY, _CONTEXT, _EPS = 49408, 77, 1e-5


def _clip(
    embedding_size: int,
    activation: str,
    vision: tuple[int, int, int, int],
    image: tuple[int, int],
    text: tuple[int, int, int],
) -> ClipConfig:
    """Sizes of a CLIP.

    Args:
      embedding_size: of the space that both towers project to.
      activation: a key of `clip.ACTIVATIONS`.
      vision: width, layers, heads and MLP width.
      image: side of an image and of a patch, in pixels.
      text: width, layers and heads; the MLP is four times as wide.
    """
    width, layers, heads, mlp_width = vision
    text_width, text_layers, text_heads = text
    return ClipConfig(
        vision=VisionConfig(width, layers, heads, mlp_width, activation, _EPS, *image, channels=3),
        text=TextConfig(
            text_width,
            text_layers,
            text_heads,
            4 * text_width,
            activation,
            _EPS,
            _VOCABULARY,
            _CONTEXT,
            LEGACY_EOS_ID,
        ),
        embedding_size=embedding_size,
    )


# Radford et al., arXiv 2103.00020, table 20; Cherti et al., arXiv 2212.07143, and the config.json
# of each repository.
VARIANTS: dict[str, ClipConfig] = {
    "openai/clip-vit-base-patch32": _clip(
        512, "quick_gelu", (768, 12, 12, 3072), (224, 32), (512, 12, 8)
    ),
    "openai/clip-vit-base-patch16": _clip(
        512, "quick_gelu", (768, 12, 12, 3072), (224, 16), (512, 12, 8)
    ),
    "openai/clip-vit-large-patch14": _clip(
        768, "quick_gelu", (1024, 24, 16, 4096), (224, 14), (768, 12, 12)
    ),
    "openai/clip-vit-large-patch14-336": _clip(
        768, "quick_gelu", (1024, 24, 16, 4096), (336, 14), (768, 12, 12)
    ),
    "laion/CLIP-ViT-H-14-laion2B-s32B-b79K": _clip(
        1024, "gelu", (1280, 32, 16, 5120), (224, 14), (1024, 24, 16)
    ),
    "laion/CLIP-ViT-g-14-laion2B-s12B-b42K": _clip(
        1024, "gelu", (1408, 40, 16, 6144), (224, 14), (1024, 24, 16)
    ),
    "laion/CLIP-ViT-bigG-14-laion2B-39B-b160k": _clip(
        1280, "gelu", (1664, 48, 16, 8192), (224, 14), (1280, 32, 20)
    ),
}
