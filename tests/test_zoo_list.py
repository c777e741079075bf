"""The list of the zoo, its folder, the documentation and the networks themselves say the same."""

from __future__ import annotations

import re

import numpy as np
import pytest
from conftest import ROOT

from tzml_zoo import ZooModel, builder, models
from tzml_zoo.zoo import sources

BUILT = [model for model in models().values() if model.network]


def test_every_module_with_a_network_is_in_the_list() -> None:
    modules = [*(ROOT / "models").glob("*.py"), *(ROOT / "models").glob("*/__init__.py")]
    with_network = {
        path.parent.name if path.stem == "__init__" else path.stem
        for path in modules
        if re.search(r"^MODEL = |\bas MODEL$", path.read_text(), re.MULTILINE)
    }
    assert with_network == set(models())


def test_every_network_is_called_as_its_module() -> None:
    assert {name: model.name for name, model in models().items()} == {name: name for name in models()}


def test_every_network_is_measured_in_the_documentation() -> None:
    rows = set(re.findall(r"^\| (\w+) \|", (ROOT / "docs" / "bench.md").read_text(), re.MULTILINE))
    assert set(models()) - rows == set()


@pytest.mark.parametrize("model", BUILT, ids=[model.name for model in BUILT])
def test_parameters_and_operations_are_those_that_the_list_gives(
    model: ZooModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted while the network is built; no weights are drawn, loaded or kept."""

    def weights(
        net: builder.Net, name: str, shape: tuple[int, ...], *_: object, trained: bool = True, **__: object
    ) -> str:
        net.parameters += int(np.prod(shape)) if trained else 0
        return name

    monkeypatch.setattr(builder.Net, "_uniform", weights)
    monkeypatch.setattr(builder.Net, "_weight", weights)
    net = builder.Net(model.name, 0, None)
    model.network(net, net.input(model.input, *model.input_shape))
    assert (net.parameters, net.macs) == (model.parameters, model.macs)


def test_a_cached_file_is_named_after_all_that_its_network_is_made_of() -> None:
    names = {name: {path.name for path in sources(name)} for name in ("resnet50", "digits")}
    assert {"resnet50.py", "resnet.py", "builder.py", "zoo.py"} <= names["resnet50"]
    assert "resnet.py" not in names["digits"]
