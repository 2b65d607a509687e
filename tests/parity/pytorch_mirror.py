"""MixCon3D's architecture in PyTorch, with the weight names of the original's checkpoints.

Written for comparison alone: plain operations in float32, one way to do each thing, and none of
this project's code but the dataclass that holds the dimensions.
"""

import math

import torch
from torch import Tensor, nn

from mixcon3d_jax.models.mixcon3d import MixCon3DConfig
from mixcon3d_jax.models.pointbert import PointBERTConfig

HEAD_WIDTH = 64
INITIAL_TEMPERATURE = math.log(14.28)


def select(values: Tensor, index: Tensor) -> Tensor:
    """Rows of (B, N, C) at (B, ...), cloud by cloud: (B, ..., C)."""
    cloud = torch.arange(len(values)).view(-1, *[1] * (index.ndim - 1))
    return values[cloud, index]


def farthest_points(points: Tensor, count: int) -> Tensor:
    """Indices (B, count): point 0, then each time the one farthest from all before it."""
    index = torch.zeros(len(points), count, dtype=torch.long)
    nearest = torch.full(points.shape[:2], math.inf)
    for i in range(1, count):
        last = select(points, index[:, i - 1 : i])
        nearest = torch.minimum(nearest, (points - last).square().sum(-1))
        index[:, i] = nearest.argmax(-1)
    return index


def ball(points: Tensor, centers: Tensor, radius: float, count: int) -> Tensor:
    """Indices (B, S, count) of the first points within the radius, filled up with the first."""
    distance = (centers[:, :, None] - points[:, None]).square().sum(-1)
    return first_inside(distance, radius, count)


def first_inside(distance: Tensor, radius: float, count: int) -> Tensor:
    """Of squared distances (B, S, N), the first within the radius, filled up with the first."""
    outside = distance.shape[-1]
    index = torch.arange(outside, device=distance.device).expand_as(distance).clone()
    index[distance > radius**2] = outside
    index = index.sort(-1).values[..., :count]
    return torch.where(index == outside, index[..., :1], index)


class SetAbstraction(nn.Module):
    """Centers (B, 3, S) and features (B, sa_dim, S) of groups of points."""

    def __init__(self, config: PointBERTConfig):
        super().__init__()
        self.config = config
        widths = [9, 64, 64, config.sa_dim]
        self.mlp_convs = nn.ModuleList(nn.Conv2d(widths[i], widths[i + 1], 1) for i in range(3))
        self.mlp_bns = nn.ModuleList(nn.BatchNorm2d(width) for width in widths[1:])
        self.sample, self.group = farthest_points, ball

    def forward(self, xyz: Tensor, rgb: Tensor) -> tuple[Tensor, Tensor]:
        config = self.config
        centers = select(xyz, self.sample(xyz, config.patches))
        index = self.group(xyz, centers, config.radius, config.neighbors)
        near = select(xyz, index)
        x = torch.cat([near - centers[:, :, None], near, select(rgb, index)], -1)
        x = x.permute(0, 3, 2, 1)  # channels, neighbours, groups
        for conv, norm in zip(self.mlp_convs, self.mlp_bns, strict=True):
            x = norm(conv(x)).relu()
        return centers.mT, x.amax(2)


class Attention(nn.Module):
    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.to_qkv = nn.Linear(dim, 3 * heads * HEAD_WIDTH, bias=False)
        self.to_out = nn.Sequential(nn.Linear(heads * HEAD_WIDTH, dim))

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, _ = x.shape
        query, key, value = (
            part.view(batch, tokens, self.heads, HEAD_WIDTH).transpose(1, 2)
            for part in self.to_qkv(x).chunk(3, dim=-1)
        )
        weights = (query @ key.mT / math.sqrt(HEAD_WIDTH)).softmax(-1)
        return self.to_out((weights @ value).transpose(1, 2).reshape(batch, tokens, -1))


class Perceptron(nn.Module):
    def __init__(self, dim: int, hidden: int):
        super().__init__()
        # The second layer's number is 3 in the original's names.
        self.net = nn.Sequential(
            nn.Linear(dim, hidden), nn.GELU(), nn.Identity(), nn.Linear(hidden, dim)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class Branch(nn.Module):
    """What a block adds to its input: a layer behind a norm."""

    def __init__(self, dim: int, fn: nn.Module):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.fn = fn

    def forward(self, x: Tensor) -> Tensor:
        return x + self.fn(self.norm(x))


class Transformer(nn.Module):
    def __init__(self, config: PointBERTConfig):
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(
                Branch(config.dim, Attention(config.dim, config.heads)),
                Branch(config.dim, Perceptron(config.dim, config.mlp_dim)),
            )
            for _ in range(config.depth)
        )

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class Tokens(nn.Module):
    """(B, C, S) to (B, S, C)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mT


class PointTransformer(nn.Module):
    def __init__(self, config: PointBERTConfig):
        super().__init__()
        self.cls_token = nn.Parameter(torch.randn(config.dim))
        self.sa = SetAbstraction(config)
        self.lift = nn.Sequential(
            nn.Conv1d(3 + config.sa_dim, config.dim, 1), Tokens(), nn.LayerNorm(config.dim)
        )
        self.transformer = Transformer(config)

    def forward(self, xyz: Tensor, rgb: Tensor) -> Tensor:
        tokens = self.lift(torch.cat(self.sa(xyz, rgb), 1))
        cls = self.cls_token.expand(len(tokens), 1, -1)
        return self.transformer(torch.cat([cls, tokens], 1))[:, 0]


class Encoder(nn.Module):
    """Clouds (B, N, 3) with colours (B, N, 3) to (B, D)."""

    def __init__(self, config: PointBERTConfig, embedding_size: int):
        super().__init__()
        self.ppat = PointTransformer(config)
        self.proj = nn.Linear(config.dim, embedding_size)

    def forward(self, xyz: Tensor, rgb: Tensor) -> Tensor:
        return self.proj(self.ppat(xyz, rgb))


class Temperature(nn.Module):
    def __init__(self):
        super().__init__()
        self.logit_scale = nn.Parameter(torch.tensor(INITIAL_TEMPERATURE))


class TwoLayers(nn.Module):
    """A projection of two layers with GELU between them."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.fc1 = nn.Linear(inputs, outputs)
        self.fc2 = nn.Linear(outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(nn.functional.gelu(self.fc1(x)))


def head(kind: str, inputs: int, outputs: int) -> nn.Module:
    """A projection: one layer, or two."""
    return {"linear": nn.Linear, "mlp": TwoLayers}[kind](inputs, outputs)


class Mirror(nn.Module):
    """All weights; a child is a group of a released checkpoint (`encoder` is its `state_dict`).

    Every head exists, as in the original, whether the configuration uses it or not.
    """

    def __init__(self, config: MixCon3DConfig):
        super().__init__()
        self.config = config
        size = config.embedding_size
        self.encoder = Encoder(config.encoder, size)
        self.text_proj = head(config.head, size, size)
        self.image_proj = head(config.head, size, size)
        self.pc_img_proj = head(config.head, 2 * size, size)
        self.multi_view_proj = nn.Linear(size, size)
        self.image_logit_scale = Temperature()
        self.text_logit_scale = Temperature()
        self.img_text_logit_scale = Temperature()
        self.pc_img_to_text_logit_scale = Temperature()

    def used_groups(self) -> dict[str, nn.Module]:
        """The children that the configuration uses, and so trains."""
        unused = {"image_proj"} if self.config.share_proj else set()
        if not self.config.view_pooling.endswith("_proj"):
            unused.add("multi_view_proj")
        return {name: child for name, child in self.named_children() if name not in unused}

    def embed_views(self, views: Tensor) -> Tensor:
        """CLIP embeddings (B, M, D) of the views to (B, D)."""
        config = self.config
        views = (self.text_proj if config.share_proj else self.image_proj)(views)
        pooled = views.mean(1) if config.view_pooling in ("avg", "avg_proj") else views.amax(1)
        return self.multi_view_proj(pooled) if config.view_pooling.endswith("_proj") else pooled

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The four embeddings (B, D) of a batch of `xyz`, `rgb`, `text_feat` and `img_feat`."""
        point = self.encoder(batch["xyz"], batch["rgb"])
        image = self.embed_views(batch["img_feat"])
        return {
            "point": point,
            "image": image,
            "text": self.text_proj(batch["text_feat"]),
            "fused": self.pc_img_proj(torch.cat([point, image], -1)),
        }
