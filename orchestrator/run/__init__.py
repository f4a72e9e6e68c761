"""Nodes over time: starting, rounds, links, stopping."""
