"""Device and aggregator: compositions of the parts below."""
