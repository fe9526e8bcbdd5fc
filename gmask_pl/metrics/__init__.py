"""Metrics of explanations: `faithfulness`, `plausibility` and `groups`, one file a metric.

What a metric is: `PairMetric` asks the model, `ModelFreeMetric` does not, `Presentation` says how
it is shown; `ExplanationMetric` makes a torchmetrics Metric of one that asks the model. `gmask_pl`
exports the classes.
"""
