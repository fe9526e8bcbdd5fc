"""Whether the words said to matter do matter to the model, which is asked (Section 5.1; ERASER)."""
