"""One process of a hierarchical federation: a device, an edge server or a cloud."""
