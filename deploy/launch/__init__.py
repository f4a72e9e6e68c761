"""Ways to start the nodes of a plan."""
