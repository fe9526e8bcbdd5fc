"""Explanations as people read them: pages, cards of notebooks, pictures."""
