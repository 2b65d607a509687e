"""The CLIP that all embeddings in OpenShape's data come from."""

CLIP_ID = "laion/CLIP-ViT-bigG-14-laion2B-39B-b160k"
EMBEDDING_SIZE = 1280
