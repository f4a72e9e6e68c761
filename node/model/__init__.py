"""What can be trained and shipped: backbones, adapters, heads."""
