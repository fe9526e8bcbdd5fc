"""Explainers: one file each; files whose names begin with _ are private to the room."""
