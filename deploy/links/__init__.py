"""What the links of a plan are made of."""
