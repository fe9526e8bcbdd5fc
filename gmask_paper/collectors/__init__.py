"""One collector for each kind of table and figure of the paper; experiments name theirs."""
