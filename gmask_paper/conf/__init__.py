"""Experiments: which runs a table or figure of the paper is made of, and what makes it."""
