"""Whether the words are those that people, or the maker of the pairs, say decide (ERASER)."""
