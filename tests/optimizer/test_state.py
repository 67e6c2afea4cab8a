"""A score on documents that were studied says nothing, so a plan keeps them apart."""

import pytest

from autodata.optimizer.state import Plan


@pytest.mark.parametrize("shared", ["validation", "test"])
def test_a_document_serves_one_purpose_only(shared: str) -> None:
    sides = {"training": ("a", "b"), "validation": ("c",), "test": ("d",), shared: ("b", "e")}
    with pytest.raises(ValueError, match=f"serve training and {shared}, such as b"):
        Plan.model_validate(sides)
