"""One process of a hierarchical federation: a device, an edge server or a cloud."""

from importlib.metadata import version

__version__ = version("hffm")
