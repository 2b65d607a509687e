"""The figures that the paper publishes, to stand beside those of a run."""

from typing import NamedTuple

PAPER = (
    "Gao, Wang, Zheng, Xie, Zhou: Sculpting Holistic 3D Representation in Contrastive "
    "Language-Image-3D Pre-training (MixCon3D), CVPR 2024"
)
PAPER_URL = "https://arxiv.org/abs/2311.01734"


class Accuracy(NamedTuple):
    """Zero-shot accuracies in percent of PointBERT, trained on one of the three splits."""

    trained_on: str
    top1: float
    top3: float
    top5: float
    class_mean: float


# By the names of the benchmarks in the configs.
ACCURACIES: dict[str, tuple[Accuracy, ...]] = {
    "objaverse_lvis": (
        Accuracy("ShapeNet", 22.3, 37.5, 44.3, 16.2),
        Accuracy("ensembled, no LVIS", 47.5, 69.0, 76.2, 34.6),
        Accuracy("ensembled (fused head, 4 views)", 52.5, 74.5, 81.2, 38.8),
    ),
    "modelnet40": (
        Accuracy("ShapeNet", 72.6, 87.1, 91.3, 68.2),
        Accuracy("ensembled, no LVIS", 87.3, 96.8, 98.1, 86.7),
        Accuracy("ensembled", 86.8, 96.9, 98.3, 86.8),
    ),
    "scanobjectnn": (
        Accuracy("ShapeNet", 52.6, 69.9, 78.7, 52.1),
        Accuracy("ensembled, no LVIS", 57.7, 80.7, 89.8, 61.5),
        Accuracy("ensembled", 58.6, 80.3, 89.2, 62.3),
    ),
}

VIEWS = (1, 4, 8, 12)
# Objaverse-LVIS top-1, trained on the ensembled data, for each number of views.
LVIS_BY_VIEWS: dict[str, tuple[float, ...]] = {
    "points only": (51.1, 50.4, 51.1, 51.5),
    "images only": (45.1, 51.9, 52.0, 52.5),
    "fused head": (51.6, 52.5, 52.8, 53.2),
    "point logits + image logits": (51.2, 53.8, 54.8, 55.3),
}
