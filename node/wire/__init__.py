"""gRPC, and nothing else of the system knows it."""
