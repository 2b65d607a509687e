"""3D files -> coloured points and renders; nothing here needs JAX."""

from mixcon3d_jax.assets.asset import Asset as Asset
from mixcon3d_jax.assets.asset import AssetError as AssetError
from mixcon3d_jax.assets.cameras import NUM_VIEWS as NUM_VIEWS
from mixcon3d_jax.assets.contact_sheet import contact_sheet as contact_sheet
from mixcon3d_jax.assets.load import SUFFIXES as SUFFIXES
from mixcon3d_jax.assets.load import load_asset as load_asset
from mixcon3d_jax.assets.render import render_views as render_views
from mixcon3d_jax.assets.sample import sample_points as sample_points
