"""What the original's training does with a checkpoint file: saves one, loads one, goes on.

Its contract alone is kept: which modules, names, keys and parameters, in which order.
"""

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tests.parity.pytorch_mirror import Mirror
from tests.parity.pytorch_training import loss_terms

# In this order behind the encoder's parameters; no other parameters are trained.
TRAINED = (
    "image_proj",
    "text_proj",
    "text_logit_scale",
    "image_logit_scale",
    "img_text_logit_scale",
)
# Asked for by the loader, and beside these saved: `pc_img_proj`.
LOADED = tuple(sorted(TRAINED))
BEST = (
    "best_img_contras_acc",
    "best_text_contras_acc",
    "best_modelnet40_overall_acc",
    "best_modelnet40_class_acc",
    "best_lvis_acc",
)


class Distributed(nn.Module):
    """Names as distributed training gives them: `module.` before each."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module


class Original:
    """A model in the original's training."""

    def __init__(self, model: Mirror, learning_rate: float = 1e-3):
        self.model = model.train()
        self.wrapped = {name: Distributed(child) for name, child in model.named_children()}
        parameters = list(model.encoder.parameters())
        for name in TRAINED:
            parameters += getattr(model, name).parameters()
        self.optimizer = torch.optim.AdamW(parameters, lr=learning_rate)
        self.average = copy.deepcopy(model.encoder)
        self.step = self.epoch = 0

    def update(self, batch: dict[str, Tensor], ema_decay: float = 0.8) -> None:
        """One step on the plain sum of the losses."""
        self.optimizer.zero_grad(set_to_none=True)
        self.model.zero_grad(set_to_none=True)
        sum(loss_terms(self.model, batch).values()).backward()
        self.optimizer.step()
        with torch.no_grad():
            current = self.model.encoder.state_dict()
            for name, old in self.average.state_dict().items():
                old.copy_(ema_decay * old + (1 - ema_decay) * current[name])
        self.step += 1

    def save(self, path: Path, **changes: Any) -> None:
        """Writes a checkpoint with the keys of the released ones, but for `changes`."""
        content = {
            "state_dict": self.wrapped["encoder"].state_dict(),
            "state_dict_ema": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": None,
            "epoch": self.epoch,
            "step": self.step,
            **dict.fromkeys(BEST, torch.tensor(0.25)),
        }
        saved = ("text_proj", "image_proj", "pc_img_proj", "image_logit_scale", "text_logit_scale")
        content |= {name: self.wrapped[name].state_dict() for name in saved}
        content |= changes
        torch.save({key: value for key, value in content.items() if value is not ...}, path)

    def load(self, path: Path) -> None:
        """Takes everything from a file; a key or a name too many or too few is an error."""
        content = torch.load(path)
        self.wrapped["encoder"].load_state_dict(content["state_dict"])
        for name in LOADED:
            self.wrapped[name].load_state_dict(content[name])
        self.optimizer.load_state_dict(content["optimizer"])
        self.epoch, self.step = content["epoch"], content["step"]
        self.best = {name: content[name] for name in BEST}
