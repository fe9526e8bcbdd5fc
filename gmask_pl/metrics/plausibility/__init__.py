"""Whether the words are those that people, or the maker of the pairs, say decide (ERASER)."""

from gmask_pl.metrics.plausibility.evidence import EvidenceRecovery
from gmask_pl.metrics.plausibility.rationale_agreement import RationaleAgreement

__all__ = ["EvidenceRecovery", "RationaleAgreement"]
