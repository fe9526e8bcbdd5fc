"""What a shell starts: ``gmask-explain``, ``gmask-train``, ``gmask-check``, ``gmask-dashboard``."""
