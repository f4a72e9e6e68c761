"""What a plan costs: modelled seconds and joules, as pure functions."""
