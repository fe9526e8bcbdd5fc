"""Sentence pairs from files or the hub: one reader per dataset, cleaning, data loaders."""
