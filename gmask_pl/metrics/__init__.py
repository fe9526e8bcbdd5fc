"""Faithfulness metrics of word attributions (Section 5.1), one torchmetrics Metric per file."""
