"""The commands of `hffm`, one per module. Each registers itself, and imports what it needs when it runs."""
