"""Whether word groups join what belongs together, and what a group does beyond its words."""
