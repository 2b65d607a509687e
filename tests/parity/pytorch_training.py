"""The training step in PyTorch: four contrastive terms, AdamW, warm-up and cosine, EMA."""

import copy
import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mixcon3d_jax.training.optimizer import OptimizerConfig
from tests.parity.pytorch_mirror import Mirror

MAX_TEMPERATURE = math.log(100)
# The two embeddings that a term compares, and its temperature.
TERMS = {
    "point_text": ("point", "text", "text_logit_scale"),
    "point_image": ("point", "image", "image_logit_scale"),
    "image_text": ("image", "text", "img_text_logit_scale"),
    "fused_text": ("fused", "text", "pc_img_to_text_logit_scale"),
}


def contrast(a: Tensor, b: Tensor, temperature: Tensor) -> Tensor:
    """The symmetric cross-entropy of the rows of `a` (B, D) with those of `b` (B, D)."""
    cosines = functional.normalize(a, dim=-1) @ functional.normalize(b, dim=-1).T
    logits, own = temperature.exp() * cosines, torch.arange(len(a))
    return (functional.cross_entropy(logits, own) + functional.cross_entropy(logits.T, own)) / 2


def loss_terms(model: Mirror, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """The four terms; rows whose `has_text` (B,) is false are dropped from those with text."""
    embeddings, terms = model(batch), {}
    for term, (first, second, temperature) in TERMS.items():
        a, b = embeddings[first], embeddings[second]
        if second == "text":
            a, b = a[batch["has_text"]], b[batch["has_text"]]
        terms[term] = contrast(a, b, getattr(model, temperature).logit_scale)
    return terms


def learning_rate(config: OptimizerConfig, step: int) -> float:
    """A linear rise that ends in the full rate, then a half cosine to the smallest."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    angle = math.pi * (step - config.warmup_steps) / (config.total_steps - config.warmup_steps)
    middle = (config.learning_rate + config.min_learning_rate) / 2
    return middle + (config.learning_rate - middle) * math.cos(angle)


class Trainer:
    """A model in training, and the running averages of its encoder and heads."""

    def __init__(self, model: Mirror, config: OptimizerConfig, ema_decay: float):
        self.model, self.config, self.ema_decay, self.step = model.train(), config, ema_decay, 0
        self.groups = model.used_groups()
        self.optimizer = torch.optim.AdamW(
            [p for group in self.groups.values() for p in group.parameters()],
            betas=(config.beta1, config.beta2),
            eps=config.epsilon,
            weight_decay=config.weight_decay,
        )
        self.ema = {
            name: copy.deepcopy(group)
            for name, group in self.groups.items()
            if not name.endswith("logit_scale")
        }

    def update(self, batch: dict[str, Tensor]) -> list[float]:
        """One step; returns its learning rate, total loss and the four terms."""
        rate = learning_rate(self.config, self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        terms = loss_terms(self.model, batch)
        total = sum(terms.values())
        self.optimizer.zero_grad()
        total.backward()
        self.apply_gradients()
        self.step += 1
        return [rate, total.item(), *(term.item() for term in terms.values())]

    def apply_gradients(self) -> None:
        """What follows a gradient: AdamW's update, the clamp, and the moving averages."""
        self.optimizer.step()
        self._clamp_temperatures()
        self._average()

    @torch.no_grad()
    def _clamp_temperatures(self) -> None:
        for *_, temperature in TERMS.values():
            getattr(self.model, temperature).logit_scale.clamp_(0, MAX_TEMPERATURE)

    @torch.no_grad()
    def _average(self) -> None:
        for name, average in self.ema.items():
            current = self.groups[name].state_dict()
            for key, old in average.state_dict().items():
                old.copy_(self.ema_decay * old + (1 - self.ema_decay) * current[key])


def named_weights(groups: dict[str, nn.Module], prefix: str = "") -> dict[str, np.ndarray]:
    """Weights and statistics under `GROUP/NAME`, as the reference folders name them."""
    return {
        f"{prefix}{_group_name(group)}/{name}": array.detach().numpy().copy()
        for group, module in groups.items()
        for name, array in module.state_dict().items()
    }


def named_gradients(model: Mirror) -> dict[str, np.ndarray]:
    """Gradients of all weights in use under `GROUP/NAME`."""
    return {
        f"{_group_name(group)}/{name}": parameter.grad.numpy().copy()
        for group, module in model.used_groups().items()
        for name, parameter in module.named_parameters()
    }


def load_weights(model: Mirror, weights: dict[str, np.ndarray]) -> None:
    """Sets every weight and statistic from `GROUP/NAME` -> array."""
    for group, module in model.named_children():
        prefix = f"{_group_name(group)}/"
        module.load_state_dict(
            {
                key.removeprefix(prefix): torch.from_numpy(array.copy())
                for key, array in weights.items()
                if key.startswith(prefix)
            }
        )


def _group_name(child: str) -> str:
    return "state_dict" if child == "encoder" else child
