"""Metrics of explanations: `faithfulness`, `plausibility` and `groups`, one file a metric."""
