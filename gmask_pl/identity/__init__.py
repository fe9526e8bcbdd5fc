"""What decides a result, and so what two results share that are the same.

Every cache, run folder, archive row and comparison asks here, and nowhere else:

- `setting_roles`: which setting decides what;
- `parts`: a part, such as an explainer, by its name in ``conf/`` and its settings, never by the
  path of its class;
- `of_model`: a model, by all that its answers depend on;
- `of_pairs`: pairs, by their texts and what is known of them;
- `of_result`: a result, by what of these decides it.
"""
