"""Comes the same out as upstream? Runs the test vectors that upstream computed and reports the differences."""
