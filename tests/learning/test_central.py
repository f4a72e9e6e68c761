"""Every family of questions of the built-in tasks can be learned with the backbone that ships."""

import pytest

from node.learning.central import central_check
from tests.learning.plans import builtin


@pytest.mark.parametrize(("name", "samples", "epochs"), [("gqa", 60, 6), ("art", 80, 6), ("digits", 100, 6)])
def test_each_family_is_learned_well_above_guessing(name: str, samples: int, epochs: int) -> None:
    """From all samples in one place. Guessing knows the kind of question, not the image."""
    families = central_check(builtin(name, samples_per_answer=samples, test_fraction=0.2), epochs=epochs)
    for family in families:
        assert family.accuracy > family.baseline + 0.15, family
    total = sum(family.total for family in families)
    mean = sum(family.accuracy * family.total for family in families) / total
    assert mean > 0.5, families
