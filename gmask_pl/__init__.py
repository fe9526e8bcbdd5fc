"""Explanations of sentence-pair classifiers by learned word-group masks (GMASK)."""

__version__ = "0.1.0"
