"""What a run leaves behind: figures in files, a page, a table, media for W&B."""
