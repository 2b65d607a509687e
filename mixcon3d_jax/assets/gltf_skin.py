"""Skins of glTF: where a mesh with bones is when nothing moves.

Source: Khronos glTF 2.0 specification, section 3.7.3 (skins).
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from mixcon3d_jax.assets.gltf import Gltf


def joint_matrices(
    gltf: Gltf, skin: int, world: Mapping[int, Float[np.ndarray, "4 4"]]
) -> Float[np.ndarray, "joints 4 4"] | None:
    """What a skin's joints do to vertices; None when they are not all part of the scene.

    Args:
      gltf: the file.
      skin: the skin's index.
      world: node index -> its matrix in the scene.
    """
    entry = gltf.tree["skins"][skin]
    joints = entry["joints"]
    if not all(joint in world for joint in joints):
        return None
    matrices = np.stack([world[joint] for joint in joints])
    if "inverseBindMatrices" in entry:
        columns = gltf.accessor(entry["inverseBindMatrices"])[: len(joints)].astype(np.float64)
        matrices = matrices @ columns.reshape(-1, 4, 4).transpose(0, 2, 1)
    return matrices


def skinned(
    gltf: Gltf,
    attributes: Mapping[str, int],
    positions: Float[np.ndarray, "vertices 3"],
    joints: Float[np.ndarray, "joints 4 4"],
) -> Float[np.ndarray, "vertices 3"]:
    """Vertices in the scene: each moved by the weighted mean of its joints' matrices."""
    total, blended = np.zeros(len(positions)), np.zeros((len(positions), 4, 4))
    number = 0
    while f"WEIGHTS_{number}" in attributes:
        index = gltf.accessor(attributes[f"JOINTS_{number}"]).astype(np.int64)
        weights = gltf.accessor(attributes[f"WEIGHTS_{number}"]).astype(np.float64)
        for joint, weight in zip(index.T, weights.T, strict=True):
            total += weight
            blended += weight[:, None, None] * joints[joint]
        number += 1
    # Quantised weights do not quite sum to 1; a vertex without any follows the first joint.
    blended[total == 0], total[total == 0] = joints[0], 1.0
    blended /= total[:, None, None]
    return np.einsum("vij,vj->vi", blended[:, :3, :3], positions) + blended[:, :3, 3]
