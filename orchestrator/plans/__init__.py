"""From what a user writes to the plan that every node reads."""
