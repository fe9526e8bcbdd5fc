"""Whether word groups join what belongs together, and what a group does beyond its words."""

from gmask_pl.metrics.groups.alignment import AlignmentAgreement
from gmask_pl.metrics.groups.group_effect import GroupEffect
from gmask_pl.metrics.groups.group_evidence import GroupEvidence
from gmask_pl.metrics.groups.group_sides import GroupSides

__all__ = ["AlignmentAgreement", "GroupEffect", "GroupEvidence", "GroupSides"]
