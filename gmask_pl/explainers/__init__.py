"""Explainers: each attributes a model's prediction on a pair to words, and may find word groups.

One file a method; files whose names begin with _ are helpers. `gmask_pl` exports the classes.
"""
