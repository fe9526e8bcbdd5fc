"""What a shell starts: ``gmask-explain``, ``gmask-train`` and ``gmask-check``."""
