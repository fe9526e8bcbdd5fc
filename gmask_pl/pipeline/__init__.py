"""Runs: a configuration in; trained weights, or explanations and their scores, out."""
