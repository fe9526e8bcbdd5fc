"""Explainers: one file each; `coalition`, `fitting` and `base` are private to the room."""
