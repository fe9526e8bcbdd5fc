"""Explains a model: ``python explain.py explainer=gmask model=bert dataset=esnli ...``."""

from gmask_pl.commands.explain import main

if __name__ == "__main__":
    main()
