"""Task models: sentence-pair classifiers as LightningModules."""
