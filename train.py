"""Trains a task model: ``python train.py model=dattn dataset=mrpc dataset.path=...``."""

from gmask_pl.commands.train import main

if __name__ == "__main__":
    main()
