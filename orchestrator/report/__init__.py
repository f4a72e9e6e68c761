"""What a person sees of plans, costs and runs: tables, figures, one page."""
