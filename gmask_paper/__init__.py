"""The reproduction of the paper: its tables and figures, made of the runs of ``gmask_pl``."""
