"""Where the converted data sets lie under their common root."""

# Data set as the original's files call it -> its folder, which is also its TFDS name.
FOLDERS = {
    "Objaverse": "objaverse",
    "ShapeNet": "shapenet",
    "ABO": "abo",
    "3D-FUTURE": "three_d_future",  # a name can't begin with a digit
}
