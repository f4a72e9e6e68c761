"""Many nodes over time: from a scenario to a plan, from a plan to a run, from runs to a report."""
