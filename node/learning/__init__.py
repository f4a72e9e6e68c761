"""Tasks and data, local training, evaluation."""
