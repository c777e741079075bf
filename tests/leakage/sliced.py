"""Networks of a public backbone and private slices, and thieves of them: what docs/partition.md reports.

    build/leakage/bin/python tests/leakage/sliced.py vgg7 >vgg7.json
    build/leakage/bin/python tests/leakage/sliced.py efficientnet_lite0 >efficientnet_lite0.json
    build/leakage/bin/python tests/leakage/sliced.py --plot docs/slices.svg vgg7.json efficientnet_lite0.json

The findings are the accuracy of the slices, what the part in the TEE costs, and how good thieves' copies are.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx
from matplotlib import rc_context
from matplotlib.figure import Figure
from numpy.typing import NDArray
from onnx import numpy_helper
from PIL import Image

from tzml.cli.leakage import exhibited
from tzml.cli.slices import command as slices
from tzml.compiler import CompileOptions
from tzml.leakage.stealing import Exhibit, steal
from tzml.leakage.victim import Samples, Victim
from tzml.partitioning.layered import LayeredModel
from tzml.partitioning.measure import meter_here
from tzml.partitioning.plot import save
from tzml.partitioning.profile import MachineCosts
from tzml.partitioning.slices import PRIVATE
from tzml.report.plots import BLUE, FAILED, STYLE
from tzml_zoo import models
from tzml_zoo.builder import Net, Value
from tzml_zoo.digits import held_out_digits, training_digits
from tzml_zoo.packages import package_file, photographs

Array = NDArray[Any]
SEEDS = range(5)
BLIND = "black box"
QUERIES = (50, 500)

QEMU = MachineCosts(
    name="qemu-counted", unit="instructions", run=1488, switch=77376, transfer=0.2244, load=2.4433, tee_ratio=0.9987
)
"""As lab/test_partition.py measured it on QEMU's counted machine (2026-11-30)."""


@dataclass(frozen=True)
class Task:
    """A public network, and private samples: to train the slices, for a thief to ask about, to judge on.

    `sliced` are options of `tzml slices`. A thief of a black box knows neither those nor where slices are: it
    trains slices as `tzml slices` makes them by default, or the backbone itself with its last layer at random, if
    `tuned` says so. `epochs` are those in which the private slices are trained.
    """

    backbone: Path
    private: Samples
    pool: Samples
    test: Samples
    sliced: tuple[str, ...]
    tuned: bool
    epochs: int


@dataclass(frozen=True)
class Findings:
    """What came of a task; `stolen` has the fidelity and accuracy of copies, by thief, queries and seed.

    `share` is what the part in the TEE costs there, of what the whole model would; both with going in.
    """

    accuracy: float
    share: float
    inside: float
    whole: float
    passed: int
    stolen: dict[str, dict[int, dict[str, list[float]]]]
    seconds: float

    def gain(self, queries: int, what: str = "fidelity") -> tuple[float, float]:
        """How much better a thief of the slices is than the best of a black box, and two standard deviations."""
        blind = [found for thief, found in self.stolen.items() if thief.startswith(BLIND)]
        best = max((found[queries][what] for found in blind), key=np.mean)
        one, other = np.array(self.stolen["slices"][queries][what]), np.array(best)
        return float(one.mean() - other.mean()), float(2 * np.sqrt(one.var(ddof=1) + other.var(ddof=1)))


# The first network: VGG-7 with a quarter of its channels, for digits of another source


def vgg7(net: Net, x: Value) -> Value:
    """models/vgg7.py with a quarter of its channels, one dense layer and no batch normalisation: 10 logits."""
    for stage, channels in enumerate([32, 64, 128]):
        for i in range(2):
            x = net.relu(net.conv(f"conv{stage}.{i}", x, channels, 3, padding=1, bias=True))
        x = net.max_pool(x, 2, 2)
    return net.linear("fc", net.flatten(x), 10)


def optical_digits() -> Samples:
    """1,797 handwritten digits of 8x8 pixels, which scikit-learn ships: Alpaydin and Kaynak (UCI, 1998)."""
    table = np.loadtxt(package_file("scikit-learn", "sklearn/datasets/data/digits.csv.gz"), delimiter=",")
    images = [Image.fromarray((row.reshape(8, 8) * 15.9).astype(np.uint8)) for row in table[:, :-1]]
    large = [np.asarray(image.resize((32, 32), Image.Resampling.BILINEAR), np.float32) / 255 for image in images]
    return Samples(np.stack(large)[:, None], table[:, -1].astype(np.int64))


def padded(samples: tuple[Array, Array]) -> Samples:
    """Digits of 28x28 pixels in images of 32x32."""
    return Samples(np.pad(samples[0], ((0, 0), (0, 0), (2, 2), (2, 2))), samples[1])


def vgg7_of_digits(folder: Path) -> Task:
    """A backbone trained on scikit-learn's digits, and slices for MNIST's (models/digits)."""
    net = Net("vgg7", 0)
    path = folder / "vgg7.onnx"
    path.write_bytes(net.model(vgg7(net, net.input("image", 1, 1, 32, 32)), "scores").SerializeToString())
    public = optical_digits()
    learner = Victim(path, {})
    with learner.open(learner.trainable.bundle) as copy:
        copy.train(public, 50, 3, seed=0)
        values = copy.parameters(learner.trainable)
    model = onnx.load(path)
    for place, value in zip(learner.trainable.parameters, values, strict=True):
        for tensor in model.graph.initializer:
            if tensor.name == place.name and not tensor.name.startswith("fc"):
                tensor.CopyFrom(numpy_helper.from_array(value.reshape(tuple(tensor.dims)), tensor.name))
    onnx.save(model, path)
    train, test = padded(training_digits()), padded(held_out_digits())
    return Task(
        path, train.part(slice(0, 2000)), train.part(slice(2000, 4000)), test,
        ("--width", "16", "--side", "4"), True, 15,
    )  # fmt: skip


# The second: EfficientNet-Lite0, trained on ImageNet, for crops of photographs

_BANDS = {"private": (0.0, 0.4), "pool": (0.4, 0.7), "test": (0.7, 1.0)}
_CROPS = {"private": 60, "pool": 50, "test": 25}


def pictures() -> dict[str, Path]:
    """Fourteen photographs and photographed textures that scikit-image and scikit-learn ship."""
    names = (
        "astronaut.png", "brick.png", "camera.png", "chelsea.png", "coffee.png", "coins.png", "grass.png",
        "gravel.png", "hubble_deep_field.jpg", "ihc.png", "motorcycle_left.png", "rocket.jpg",
    )  # fmt: skip
    shipped = {name: package_file("scikit-image", f"skimage/data/{name}") for name in names}
    return {**shipped, **photographs()}


def crops(part: str, seed: int) -> Samples:
    """Crops of a band of each picture, from left to right, and the number of the picture.

    No two parts share a pixel. They are prepared as models/efficientnet_lite0.py says.
    """
    random = np.random.default_rng(seed)
    left, right = _BANDS[part]
    images, labels = [], []
    for label, path in enumerate(pictures().values()):
        with Image.open(path) as file:
            picture = file.convert("RGB")
        band = picture.crop((round(left * picture.width), 0, round(right * picture.width), picture.height))
        for _ in range(_CROPS[part]):
            side = int(random.integers(64, min(97, *band.size)))
            x, y = (int(random.integers(length - side + 1)) for length in band.size)
            crop = band.resize((224, 224), Image.Resampling.BICUBIC, box=(x, y, x + side, y + side))
            pixels = np.asarray(crop, np.float32).transpose(2, 0, 1)
            images.append((pixels[:, :, ::-1] if random.random() < 0.5 else pixels) / 128 - 127 / 128)
            labels.append(label)
    order = random.permutation(len(images))
    return Samples(np.stack(images).astype(np.float32), np.array(labels)).part(order)


def efficientnet_of_photographs(_: Path) -> Task:
    """The zoo's network with its ImageNet weights, and slices that tell from which picture a crop is."""
    return Task(
        models()["efficientnet_lite0"].onnx(), crops("private", 1), crops("pool", 2), crops("test", 3),
        ("--width", "24", "--side", "3"), False, 20,
    )  # fmt: skip


TASKS: dict[str, Callable[[Path], Task]] = {
    "vgg7": vgg7_of_digits,
    "efficientnet_lite0": efficientnet_of_photographs,
}


def sliced(task: Task, folder: Path, name: str, options: tuple[str, ...], seed: int) -> Path:
    """The network that `tzml slices` makes."""
    path = folder / f"{name}.onnx"
    classes = str(int(task.private.labels.max()) + 1)
    arguments = [str(task.backbone), "--classes", classes, "--seed", str(seed), *options, "-o", str(path)]
    slices.main(arguments, standalone_mode=False)
    return path


def thieves(task: Task, folder: Path) -> Iterator[tuple[str, Exhibit, Exhibit | None]]:
    """The network with its slices trained, and what thieves begin with, by name."""
    victim = Victim(sliced(task, folder, "victim", task.sliced, 1), {}, private=PRIVATE)
    private = victim.taken(task.private)
    with victim.open(victim.trainable.bundle) as copy:
        copy.train(private, 50, task.epochs, seed=0)
        learned = dict(enumerate(copy.parameters(victim.trainable)))
        victim.trainable = replace(victim.trainable, bundle=victim.trainable.with_values(learned))
    seen = exhibited(victim, task.pool, task.test, "samples")
    yield "exposed", replace(seen, inside=()), None
    yield "slices", seen, None
    blind = Victim(sliced(task, folder, "thief", (), 2), {}, private=PRIVATE)
    yield f"{BLIND}, slices of its own", seen, exhibited(blind, task.pool, task.test, "samples")
    if not task.tuned:  # it would take most of the time
        return
    tuned = Victim(task.backbone, {})
    last = max(place.layer for place in tuned.trainable.parameters)
    own = exhibited(tuned, task.pool, task.test, "samples")
    yield f"{BLIND}, backbone tuned", seen, replace(own, inside=[last])


def latencies(path: Path) -> tuple[float, float, int]:
    """Of the part in the TEE, and of the whole model there, and the bytes that go into the part."""
    model = LayeredModel(path, CompileOptions("qemu"))
    meter = meter_here("qemu", 1, QEMU.tee_ratio)
    _, private = model.halves(model.range_of(PRIVATE).start)
    found = []
    for bundle in (private, model.whole()):
        passed = sum(bundle.tensors[p.tensor].size for p in (*bundle.program.inputs, *bundle.program.outputs))
        found.append((meter(bundle)[1] + QEMU.entering(passed, 0), passed))
    return found[0][0], found[1][0], found[0][1]


def findings(name: str, folder: Path, tell: Callable[[str], None] = lambda _: None) -> Findings:
    """All of it, on this host."""
    begin = time.process_time()
    task = TASKS[name](folder)
    tell("backbone")
    stolen: dict[str, dict[int, dict[str, list[float]]]] = {}
    accuracy = 0.0
    for thief, seen, own in thieves(task, folder):
        of = [steal(seen, queries, SEEDS if seen.inside else range(1), own) for queries in QUERIES]
        stolen[thief] = {s.queries: {"fidelity": list(s.fidelity), "accuracy": list(s.accuracy)} for s in of}
        accuracy = of[0].accuracy[0] if thief == "exposed" else accuracy
        tell(f"{thief}: {stolen[thief]}, {time.process_time() - begin:.0f} s")
    inside, whole, passed = latencies(folder / "victim.onnx")
    return Findings(accuracy, inside / whole, inside, whole, passed, stolen, time.process_time() - begin)


def draw(path: Path, found: Mapping[str, Findings]) -> None:
    """Fidelity of copies with 500 queries over what is computed in the TEE, for networks by name."""
    with rc_context(STYLE):
        figure = Figure(figsize=(4 * len(found), 4), layout="constrained")
        for axes, (name, one) in zip(
            figure.subplots(1, len(found), sharey=True, squeeze=False)[0], found.items(), strict=True
        ):
            for thief, rows in one.stolen.items():
                values = rows[500]["fidelity"]
                blind = thief.startswith(BLIND)
                x = 100 * (one.share if thief == "slices" else float(blind))
                axes.errorbar(
                    x, np.mean(values), np.std(values, ddof=1) if len(values) > 1 else 0, fmt="o", capsize=4,
                    color=BLUE if thief == "slices" else FAILED if not blind else "black",
                    mfc="none" if "tuned" in thief else None, label=_LABELS.get(thief, thief),
                )  # fmt: skip
            axes.axvline(15, color="grey", linestyle=":", linewidth=1)
            axes.set_xlabel("instructions in the TEE, % of the whole model's")
            axes.set_title(name)
        figure.axes[0].set_ylabel("fidelity of a copy, 500 queries")
        figure.axes[0].legend(loc="lower right", fontsize=7)
    save(figure, path)


_LABELS = {"exposed": "everything exposed", "slices": "slices inside"}


@click.command()
@click.argument("names", nargs=-1)
@click.option("--plot", type=click.Path(path_type=Path), help="Draw findings in these files (.json) instead.")
def main(names: tuple[str, ...], plot: Path | None) -> None:
    """See above."""
    if plot:
        read = [json.loads(Path(name).read_text()) for name in names]
        for one in read:
            one["stolen"] = {t: {int(q): row for q, row in rows.items()} for t, rows in one["stolen"].items()}
        draw(plot, {Path(name).stem: Findings(**one) for name, one in zip(names, read, strict=True)})
        return
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            found = findings(name, Path(folder), lambda text: click.echo(text, err=True))
        click.echo(json.dumps(found.__dict__, indent=1))
        for queries, what in product(QUERIES, ("fidelity", "accuracy")):
            gain, deviations = found.gain(queries, what)
            click.echo(f"{what}, {queries} queries: {gain:+.3f}, two deviations {deviations:.3f}", err=True)


if __name__ == "__main__":
    main()
