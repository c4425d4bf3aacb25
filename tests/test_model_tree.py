"""The tree of a network: sums by hand, and against a real one."""

import fakes
import fakes_figures
import pytest
import torchvision
from lyrx.engine.state import describe
from lyrx.explorer.core.model import (
    Node,
    build_tree,
    columns_to_tell,
    default_folds,
    layer_of,
    parent_of,
    standings,
    sums,
    tree_rows,
    weight_tensors,
)
from lyrx.explorer.core.modeltext import Ground, bar, facts, fit, heads, stacked, standing_text, summary, tree_line
from lyrx.explorer.core.picture import Picture, take_picture
from lyrx.store import Store


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> dict[str, Picture]:
    store = Store.open_or_create(tmp_path_factory.mktemp("trees") / "lyrx.zarr")
    runs = [fakes_figures.fcn_run(store), fakes_figures.resnet_run(store), fakes_figures.tied_run(store)]
    return {run.name: take_picture(run) for run in runs}


def tree(picture: Picture) -> Node:
    return build_tree(picture.run.tensors, layer_of(picture))


def at(root: Node, path: str) -> Node:
    return next(node for node in root.walk() if node.path == path)


def ground(picture: Picture, root: Node, column: int) -> Ground:
    return Ground(standings(picture, column), root.total, max(child.total for child in root.children))


def test_the_sums_are_those_of_the_real_network(pictures):
    model = torchvision.models.resnet18()
    described = describe(model)
    assert [(t.name, t.shape, t.kind, t.dtype) for t in described] == [
        (t.name, t.shape, t.kind, t.dtype) for t in fakes_figures.resnet18_tensors()
    ]
    root = tree(pictures["resnet18-real"])
    assert root.total == sum(p.numel() for p in model.parameters()) == 11_689_512
    assert root.buffers == sum(b.numel() for b in model.buffers())
    for name, module in model.named_modules():
        if (
            name
            and list(module.children() or module.parameters(recurse=False))
            and any(True for _ in module.parameters())
        ):
            node = at(root, name)
            assert node.total == sum(p.numel() for p in module.parameters()), name
            assert node.own == sum(p.numel() for p in module.parameters(recurse=False)), name


def test_tied_weights_are_counted_once_and_buffers_apart(pictures):
    root = tree(pictures["gpt-tied"])
    assert at(root, "embed").total == 512 * 96
    assert at(root, "head").total == 0
    assert at(root, "head.weight").tied == "embed.weight"
    block = 288 * 96 + 288 + 96 * 96 + 96 + 2 * 384 * 96 + 384 + 96 + 192
    assert at(root, "blocks.1").total == block
    assert root.total == 512 * 96 + 64 * 96 + 3 * block
    weights, tensors, tied, buffers = weight_tensors(pictures["gpt-tied"].run.tensors)
    assert (weights, tied, buffers) == (root.total, 1, 0)
    assert tensors == len(fakes_figures.tied_tensors())
    norm = at(tree(pictures["resnet18-real"]), "bn1")
    assert (norm.total, norm.buffers) == (128, 129), "running mean, variance, and a counter"


def test_how_many_weights_sit_in_robust_layers(pictures):
    picture = pictures["fcn-weights"]
    column = columns_to_tell(picture)[0]
    assert picture.columns[column].label == "0"
    found = sums(picture, tree(picture), column)
    # At checkpoint 0 fc1 (77.8 %) and fc2 (18.4 %) are critical, fc3 (2.3 %) and output (1.7 %) robust.
    fc1, fc2, fc3, output = 196 * 64 + 64, 64 * 64 + 64, 64 * 64 + 64, 640 + 10
    assert found.weights == {"critical": fc1 + fc2, "robust": fc3 + output}
    assert found.layers == {"critical": 2, "robust": 2}
    assert found.total == fc1 + fc2 + fc3 + output


def test_what_is_not_measured_or_in_no_layer_is_told_apart(pictures):
    picture = pictures["gpt-tied"]
    root = tree(picture)
    found = sums(picture, root, columns_to_tell(picture)[0])
    assert sum(found.weights.values()) == root.total
    assert found.outside == 64 * 96 + 3 * 192, "the positions and the norms"
    assert found.layers["missing"] == 3, "every second layer was left out"
    missing = sum(picture.probe.layers[layer].parameters for layer in (1, 3, 5))
    assert found.weights["missing"] == found.outside + missing
    text = "\n".join(line.plain for line in summary(picture, found, 120))
    assert f"{found.weights['missing']:,} in 3 layers" in text


def test_a_joint_row_is_no_layer_of_its_own(tmp_path):
    run = fakes.kinds_run(Store.open_or_create(tmp_path / "s.zarr"))
    picture = take_picture(run)
    assert set(layer_of(picture).values()) == {0, 1, 2, 3}
    assert sum(sums(picture, tree(picture), columns_to_tell(picture)[0]).layers.values()) == 4


def test_at_first_modules_are_seen_and_not_their_tensors(pictures):
    root = tree(pictures["resnet18-real"])
    rows = tree_rows(root, default_folds(root))
    assert [row.node.path for row in rows[:6]] == [
        "conv1",
        "bn1",
        "layer1",
        "layer1.0",
        "layer1.0.conv1",
        "layer1.0.bn1",
    ]
    assert [row.depth for row in rows[:5]] == [0, 0, 0, 1, 2]
    assert not any(row.node.is_tensor for row in rows)
    opened = tree_rows(root, default_folds(root) - {"bn1"})
    assert [row.node.path for row in opened[1:4]] == ["bn1", "bn1.weight", "bn1.bias"]
    shut = tree_rows(root, default_folds(root) | {"layer1", "layer2", "layer3", "layer4"})
    assert [row.node.path for row in shut] == ["conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc"]
    assert [parent_of(rows, index) for index in (0, 3, 4)] == [None, 2, 3]


def test_a_search_shows_what_it_finds_and_where_that_lies(pictures):
    root = tree(pictures["resnet18-real"])
    folds = default_folds(root) | {"layer3"}
    rows = tree_rows(root, folds, query="LAYER3 down")
    assert [row.node.path for row in rows] == [
        "layer3", "layer3.0", "layer3.0.downsample", "layer3.0.downsample.0", "layer3.0.downsample.1",
    ]  # fmt: skip
    assert [row.found for row in rows] == [False, False, True, True, True]
    assert tree_rows(root, folds, query="nothing like it") == []
    tensors = tree_rows(root, folds, query="running_var")
    assert sum(row.found for row in tensors) == 20, "tensors are found inside folded modules"


def test_the_largest_stand_first(pictures):
    root = tree(pictures["resnet18-real"])
    rows = tree_rows(root, default_folds(root), "size")
    tops = [row.node for row in rows if row.depth == 0]
    assert [node.path for node in tops] == ["layer4", "layer3", "layer2", "fc", "layer1", "conv1", "bn1"]
    assert [node.total for node in tops] == sorted((node.total for node in tops), reverse=True)
    inside = [row.node.total for row in rows if row.node.path.rpartition(".")[0] == "layer4.0"]
    assert inside == sorted(inside, reverse=True)


@pytest.mark.parametrize("width", [30, 46, 78, 118, 198])
@pytest.mark.parametrize("name", ["fcn-weights", "resnet18-real", "gpt-tied"])
def test_columns_stay_in_line_at_every_width(pictures, name: str, width: int):
    picture = pictures[name]
    root = tree(picture)
    against = ground(picture, root, 1)
    rows = tree_rows(root, frozenset())
    columns = fit(rows, against, width)
    lines = [tree_line(row, columns, against) for row in rows]
    lengths = {line.cell_len for line in lines} | {heads(columns, against).cell_len}
    assert len(lengths) == 1, "each line is filled up to the last column"
    assert lengths.pop() <= width
    assert columns.total, "sizes are always there"


def test_what_stands_in_a_line(pictures):
    picture = pictures["resnet18-real"]
    root = tree(picture)
    against = ground(picture, root, 1)
    rows = tree_rows(root, default_folds(root))
    columns = fit(rows, against, 120)
    line = tree_line(rows[0], columns, against).plain
    assert line.split()[:7] == ["▸", "conv1", "64×3×7×7", "float32", "9,408", "9,408", "0.08"]
    assert standing_text(at(root, "conv1"), against) == "▲ critical"
    verdicts = [
        picture.verdict(layer, 1) for layer, name in enumerate(picture.layer_names) if name.startswith("layer3.")
    ]
    assert standing_text(at(root, "layer3"), against) == f"●{verdicts.count('robust')} ▲{verdicts.count('critical')}"
    tied = tree(pictures["gpt-tied"])
    assert standing_text(at(tied, "head"), ground(pictures["gpt-tied"], tied, 1)) == "= embed.weight"
    assert standing_text(at(tied, "position"), ground(pictures["gpt-tied"], tied, 1)) == "in no layer"


def test_bars_are_as_long_as_their_share(pictures):
    picture = pictures["resnet18-real"]
    root = tree(picture)
    against = ground(picture, root, 1)
    assert bar(at(root, "layer4"), 40, against).plain == "█" * 40
    layer3 = at(root, "layer3")
    length = 40 * layer3.total / at(root, "layer4").total
    assert len(bar(layer3, 40, against).plain.rstrip("▏▎▍▌▋▊▉ ")) == int(length)
    assert bar(at(root, "bn1"), 40, against).plain == "▏", "what is there is seen"


def test_a_stacked_bar_fills_its_width_and_hides_nothing():
    parts = [(1, "a", "info"), (99_998, "b", "alarm"), (1, "c", "faint"), (0, "d", "muted")]
    assert stacked(parts, 10).plain == "abbbbbbbbc"
    assert stacked([(1, "a", "info"), (3, "b", "alarm")], 8).plain == "aabbbbbb"
    assert stacked([], 8).plain == ""


def test_facts_are_cut_from_the_end():
    assert (
        facts((390_240, 32, 1, 5), 200) == "390,240 weights in 32 tensors · 1 tied, counted once · 5 numbers in buffers"
    )
    assert facts((390_240, 32, 1, 5), 60) == "390,240 weights in 32 tensors · 1 tied, counted once"
    assert facts((390_240, 32, 1, 5), 10) == "390,240 weights in 32 tensors"
