"""Collects a table or figure of the paper: ``python collect.py experiment=table2 ...``."""

from gmask_paper.collecting import main

if __name__ == "__main__":
    main()
