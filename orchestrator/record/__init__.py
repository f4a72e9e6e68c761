"""What happened in a run: events, the run folder, the summary."""
