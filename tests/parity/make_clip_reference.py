"""Makes `tests/models/data/clip_*/`: tiny random CLIPs with the outputs of transformers' PyTorch.

    python -m tests.parity.make_clip_reference        (in an environment with torch)

Each folder is laid out as `tests.golden_clip_check` reads it.  One for each activation and each
rule for the end of a text; weights in float16, so that the files stay small.
"""

from pathlib import Path

import numpy as np
import torch
from transformers import CLIPConfig, CLIPModel

DATA = Path(__file__).parent.parent / "models" / "data"
VARIANTS = {"clip_gelu_eos_id": ("gelu", 39), "clip_quick_gelu_legacy": ("quick_gelu", 2)}
END = 39  # the highest id, as in CLIP's own vocabulary


def reduced_config(activation: str, eos_id: int) -> CLIPConfig:
    """A CLIP of a few thousand parameters whose sizes all differ from one another."""
    return CLIPConfig(
        projection_dim=10,
        text_config={
            "vocab_size": END + 1,
            "hidden_size": 12,
            "intermediate_size": 20,
            "num_hidden_layers": 2,
            "num_attention_heads": 3,
            "max_position_embeddings": 9,
            "hidden_act": activation,
            "eos_token_id": eos_id,
            "bos_token_id": END - 1,
            "pad_token_id": 1,
        },
        vision_config={
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 13,
            "patch_size": 4,
            "hidden_act": activation,
            "layer_norm_eps": 1e-3,
        },
    )


def random_model(config: CLIPConfig, seed: int) -> CLIPModel:
    """A model whose every parameter, norms and biases included, is random and fits float16."""
    torch.manual_seed(seed)
    model = CLIPModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
            parameter.copy_(parameter.half().float())
    return model


def random_inputs(config: CLIPConfig, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Token ids of texts of several lengths, each with its end and then padding; and images."""
    rng = np.random.default_rng(seed)
    context = config.text_config.max_position_embeddings
    ids = np.full((4, context), config.text_config.pad_token_id)
    for row, length in zip(ids, (2, 5, context - 1, context), strict=True):
        row[0] = END - 1
        row[1 : length - 1] = rng.integers(3, END - 1, length - 2)
        row[length - 1] = END
    size = config.vision_config.image_size
    return ids, rng.normal(size=(3, 3, size, size)).astype(np.float32)


def embeddings(
    model: CLIPModel, ids: np.ndarray, pixels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Projected, unnormalised embeddings of texts and images."""
    with torch.no_grad():
        text = model.get_text_features(torch.from_numpy(ids)).pooler_output
        image = model.get_image_features(torch.from_numpy(pixels)).pooler_output
    return text.numpy(), image.numpy()


def main() -> None:
    """Writes every variant."""
    for seed, (name, (activation, eos_id)) in enumerate(VARIANTS.items()):
        config = reduced_config(activation, eos_id)
        model = random_model(config, seed)
        ids, pixels = random_inputs(config, seed)
        text, image = embeddings(model, ids, pixels)
        folder = DATA / name
        model.half().save_pretrained(folder)
        np.savez_compressed(
            folder / "golden.npz",
            input_ids=ids,
            pixel_values=pixels,
            text_embeds=text,
            image_embeds=image,
        )


if __name__ == "__main__":
    main()
