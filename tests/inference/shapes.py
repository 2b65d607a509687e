"""Files of shapes that tests of inference make."""

from pathlib import Path

import numpy as np
import trimesh


def cloud(seed: int, count: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Points, not alike in any direction, and colours."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(count, 3)) * (1, 2, 0.5) + rng.exponential(size=(count, 3))
    return points.astype(np.float32), rng.integers(0, 256, (count, 3)).astype(np.uint8)


def write_cloud(path: Path, seed: int, count: int = 300) -> Path:
    """A cloud as NPZ."""
    points, colors = cloud(seed, count)
    np.savez(path, points=points, colors=colors)
    return path


def wedge() -> trimesh.Trimesh:
    """A mesh that is alike in no direction, with coloured vertices."""
    mesh = trimesh.creation.cone(radius=1, height=3, sections=5)
    mesh.apply_translation([0.5, 0.2, 0])
    mesh.vertices[0] += (0.3, 0.1, 0.9)
    mesh.visual.vertex_colors = np.arange(len(mesh.vertices) * 4).reshape(-1, 4) % 200
    return mesh


def turned_up(mesh: trimesh.Trimesh) -> trimesh.Trimesh:
    """A y-up mesh with z up, by a rotation matrix, as a program that exports it would turn it."""
    turned = mesh.copy()
    turned.apply_transform(trimesh.transformations.rotation_matrix(np.pi / 2, [1, 0, 0]))
    return turned
