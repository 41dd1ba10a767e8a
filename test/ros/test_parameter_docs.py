import pytest

from robovlms_ros.ros.parameter_docs import parameter_docs


def test_the_document_is_what_the_table_says(request: pytest.FixtureRequest) -> None:
    document = request.config.rootpath / "docs/parameters.md"
    assert document.read_text() == parameter_docs(), (
        "write it again: python -m robovlms_ros.ros.parameter_docs docs/parameters.md"
    )
