"""Updates and how they combine.

An update is (mean, weight, contributors). What arrives at an aggregator goes into one collection per module, which
is the weighted mean unless the plan names a robust rule for the module and the tier.
"""

from node.aggregation.collection import Collection, collection_for
from node.aggregation.drift import Apart, Drift
from node.aggregation.robust import Gathered
from node.aggregation.running_sum import RunningSum, combine
from node.aggregation.update import Update

__all__ = ["Apart", "Collection", "Drift", "Gathered", "RunningSum", "Update", "collection_for", "combine"]
