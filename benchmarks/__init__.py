"""Speed, as ratios that are taken side by side in one run."""
