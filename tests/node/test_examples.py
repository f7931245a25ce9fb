"""The descriptions of models under examples/ are what the command line takes."""

from pathlib import Path

import pytest

from node.commands.models import read_description
from tests.helpers.api import run_api
from tests.helpers.learning import connect

EXAMPLES = sorted((Path(__file__).resolve().parent.parent.parent / "examples").glob("*.toml"))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_example_describes_a_model_that_can_be_created(tmp_path: Path, file: Path) -> None:
    with run_api(tmp_path) as scene:
        client = connect(scene, scene.chain.network.accounts[0])
        settings = read_description(file)
        assert client.create_model(**settings).status == "ok"
        assert client.model(settings["name"]).family == settings["family"]


def test_examples_are_there() -> None:
    assert {file.stem for file in EXAMPLES} >= {"digits", "complaints"}
