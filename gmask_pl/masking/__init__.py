"""Keep-masks in, logits out: all that explainers and metrics see of a model.

- `masked_model`: the model bound to a batch, and what removing a word means;
- `token_packing`: which tokens of which masked inputs are computed together;
- `response_cache`: the model's answers, kept for other runs;
- `removal_orders`: the best and the worst order in which words can be removed.
"""
