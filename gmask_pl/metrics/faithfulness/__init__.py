"""Whether the words said to matter do matter to the model, which is asked (Section 5.1; ERASER)."""

from gmask_pl.metrics.faithfulness.aopc import AOPC
from gmask_pl.metrics.faithfulness.comprehensiveness import Comprehensiveness
from gmask_pl.metrics.faithfulness.degradation import Degradation
from gmask_pl.metrics.faithfulness.naopc import NormalisedAOPC
from gmask_pl.metrics.faithfulness.post_hoc_accuracy import PostHocAccuracy
from gmask_pl.metrics.faithfulness.sufficiency import Sufficiency

__all__ = [
    "AOPC",
    "Comprehensiveness",
    "Degradation",
    "NormalisedAOPC",
    "PostHocAccuracy",
    "Sufficiency",
]
