"""Language models: text in, next-token errors out, trained and probed like any other network."""

import math
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from lyrx.engine.building import build_model
from lyrx.engine.data import Lm1bSpec, TextSpec
from lyrx.engine.data.text import TOKENIZER
from lyrx.engine.data.tokenizer import Tokenizer, train_tokenizer
from lyrx.engine.errors import DataError, DataNotFoundError, ModelError, RunConflictError
from lyrx.engine.prepare import prepare
from lyrx.engine.session import Session
from lyrx.engine.state import load_arrays
from lyrx.engine.tallies import judge_tokens
from lyrx.explorer.core.picture import take_picture
from lyrx.explorer.jsonout import picture_json
from lyrx.store import Cell, Store
from lyrx.store.check import Report, check_store
from running import batch, lyrx, spec_values, write_spec
from torch.nn import functional

WORDS = ["the", "a", "cat", "dog", "bird", "sees", "hears", "likes", "old", "young", "house", "tree", "and", "or"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv("LYRX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def text(lines: int, seed: int = 0) -> str:
    """Sentences in which the next word depends on the one before."""
    chosen = random.Random(seed)
    found = []
    for _ in range(lines):
        place, words = chosen.randrange(len(WORDS)), []
        for _ in range(chosen.randrange(4, 12)):
            words.append(WORDS[place])
            place = (place * 7 + chosen.choice([1, 1, 1, 2])) % len(WORDS)
        found.append(" ".join(words))
    return "\n".join(found) + "\n"


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(text(1500))
    return path


def sections(corpus: Path, **probe) -> dict:
    return {
        "model": {"name": "models_for_tests:Causal"},
        "data": {"name": "text", "root": str(corpus), "vocabulary": 30, "length": 16},
        "train": {"epochs": 2, "optimizer": "adam", "lr": 0.01, "checkpoints": [0, 1, 2], "batch_size": 32},
        "probe": {"draws": 1, **probe},
    }


# Text to sequences


def test_sequences_hold_the_text_and_targets_are_what_comes_next(corpus: Path):
    data = TextSpec(root=str(corpus), vocabulary=30, length=16).load()
    tokenizer = Tokenizer(data.files[TOKENIZER])
    train, test = np.asarray(data.train_inputs), np.asarray(data.test_inputs)
    assert data.classes == len(tokenizer) == 30
    assert train.shape[1:] == (16,)
    assert (data.train_targets.reshape(-1)[:-1] == train.reshape(-1)[1:]).all()
    lines = corpus.read_text().splitlines()
    assert tokenizer.decode(train.reshape(-1)).startswith(" ".join(lines[:20]))
    # The test text begins with the first of the last tenth of all lines.
    assert tokenizer.decode(test.reshape(-1)).startswith(" ".join(lines[1350:1352]))
    ends = sum(int((half == tokenizer.end).sum()) for half in (train, test))
    assert 1400 < ends <= 1500


def test_the_unigram_numbers_by_hand(corpus: Path, monkeypatch):
    monkeypatch.setattr("lyrx.engine.data.text._PART", 1000)
    data = TextSpec(root=str(corpus), vocabulary=30, length=16).load()
    facts = data.facts()
    counts = np.bincount(data.train_targets.reshape(-1), minlength=30)
    wanted = data.test_targets.reshape(-1)
    assert facts["unigram_error"] == pytest.approx(np.mean([token != counts.argmax() for token in wanted]))
    by_hand = [-math.log((counts[token] + 1) / (counts.sum() + 30)) for token in wanted]
    assert facts["unigram_loss"] == pytest.approx(np.mean(by_hand))


def test_the_tokenizer_is_the_same_each_time_and_comes_from_the_cache(corpus: Path, cache: Path, monkeypatch):
    lines = corpus.read_text().splitlines()
    assert train_tokenizer(lines, 30) == train_tokenizer(lines, 30)
    spec = TextSpec(root=str(corpus), vocabulary=30, length=16)
    first = spec.load()
    with monkeypatch.context() as patch:
        patch.setattr("lyrx.engine.data.text.train_tokenizer", None)
        assert spec.load().fingerprint == first.fingerprint
    # Damaged, it is made anew; without a cache that can be written everything still works.
    for path in cache.rglob("*.*"):
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content[:-1] + b"?")
    assert spec.load().fingerprint == first.fingerprint
    blocked = corpus.parent / "file"
    blocked.write_text("")
    monkeypatch.setenv("LYRX_CACHE", str(blocked))
    again = spec.load()
    assert again.fingerprint == first.fingerprint
    assert (again.train_inputs == first.train_inputs).all()


def test_folders_and_the_layout_of_lm1b(tmp_path: Path):
    for half, names in {
        "training-monolingual.tokenized.shuffled": ["news.en-00001-of-00100", "news.en-00002-of-00100"],
        "heldout-monolingual.tokenized.shuffled": ["news.en.heldout-00000-of-00050"],
    }.items():
        for index, name in enumerate(names):
            (tmp_path / "lm" / half).mkdir(parents=True, exist_ok=True)
            (tmp_path / "lm" / half / name).write_text(text(300, index))
    shards = Lm1bSpec(root=str(tmp_path / "lm"), vocabulary=30, length=16).load()
    for half, parts in {"train": [text(300, 0), text(300, 1)], "test": [text(300, 0)]}.items():
        (tmp_path / "plain" / half).mkdir(parents=True)
        (tmp_path / "plain" / half / "all.txt").write_text("".join(parts))
    folder = TextSpec(root=str(tmp_path / "plain"), vocabulary=30, length=16).load()
    assert (shards.train_inputs == folder.train_inputs).all()
    assert (shards.test_targets == folder.test_targets).all()
    (tmp_path / "loose").mkdir()
    (tmp_path / "loose" / "one.txt").write_text(text(300, 0) + text(300, 1))
    assert TextSpec(root=str(tmp_path / "loose"), vocabulary=30, length=16).load().classes == 30


def folder_of(path: Path, names: dict[str, int]) -> Path:
    """Files below `path`, each with the text of a seed."""
    for name, seed in names.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text(300, seed))
    return path


def halves(root: Path, **keys) -> tuple[set[str], set[str], str]:
    """The names of the files of both halves, and what is said."""
    found = TextSpec(root=str(root), **keys)._halves()
    return {p.name for p in found.train.files}, {p.name for p in found.test.files}, found.note


NAMED = [
    (["x.train.txt", "x.test.txt"], {"x.train.txt"}, {"x.test.txt"}),
    (["wiki.train.raw", "wiki.valid.raw", "wiki.test.raw"], {"wiki.train.raw"}, {"wiki.test.raw"}),
    (["a_training.txt", "a_dev.txt", "README"], {"a_training.txt"}, {"a_dev.txt"}),
    (["train.txt", "TEST-2.txt"], {"train.txt"}, {"TEST-2.txt"}),
    (["test-set/en/train/1.txt", "test-set/en/test/2.txt"], {"1.txt"}, {"2.txt"}),
    (["b/train1.txt", "b/train2.txt", "c/test.txt"], {"train1.txt", "train2.txt"}, {"test.txt"}),
]


@pytest.mark.parametrize(("names", "train", "test"), NAMED)
def test_files_that_are_called_after_their_half_are_it(tmp_path: Path, names: list[str], train: set, test: set):
    found = halves(folder_of(tmp_path, dict.fromkeys(names, 0)))
    assert found[:2] == (train, test)
    assert "told apart by their names" in found[2]
    for name in names:
        half = "left out" if name in ("README", "wiki.valid.raw") else None
        assert half is None or f"{half}: {name}" in found[2]


@pytest.mark.parametrize("names", [["a.txt", "b.txt"], ["x.train.txt", "y.txt"], ["train-test.txt", "latest.txt"]])
def test_where_names_do_not_say_both_halves_it_is_a_share_of_the_lines_and_that_is_said(tmp_path: Path, names):
    train, test, note = halves(folder_of(tmp_path, dict.fromkeys(names, 0)), test_share=0.25)
    assert train == test == set(names)
    assert note == f"test text: the last 25 % of the lines of {', '.join(sorted(names))}"


def test_what_is_said_of_which_files_are_which_comes_before_names(tmp_path: Path):
    names = ["x.train.txt", "x.test.txt", "y.txt", *(f"test/{i}.txt" for i in range(5)), "train/a.txt"]
    root = folder_of(tmp_path, dict.fromkeys(names, 0))
    _, _, note = halves(root)
    assert note == "training text: train/a.txt; test text: test/0.txt, test/1.txt, test/2.txt and 2 more"
    assert halves(root, train=["x.*"], test=["y.txt"])[:2] == ({"x.train.txt", "x.test.txt"}, {"y.txt"})


def test_batch_says_which_text_is_which_and_a_run_from_before_is_still_itself(tmp_path: Path, monkeypatch):
    root = folder_of(tmp_path / "text", {"x.test.txt": 1, "x.train.txt": 0, "more.train.txt": 2})
    with monkeypatch.context() as patch:  # as it was once
        patch.setattr("lyrx.engine.data.text.of_names", lambda root, files: None)
        old, events = batch(tmp_path / "old.zarr", **sections(root, at=["zero"]))
        said = [event.note for event in events if type(event).__name__ == "Noted"]
        assert said == ["test text: the last 10 % of the lines of more.train.txt, x.test.txt, x.train.txt"]
    new, events = batch(tmp_path / "new.zarr", **sections(root, at=["zero"]))
    kinds = [type(event).__name__ for event in events[:2]]
    assert kinds == ["RunOpened", "Noted"]
    assert events[1].note.startswith("training text: more.train.txt, x.train.txt; test text: x.test.txt")
    assert old.info.data_facts["fingerprint"] != new.info.data_facts["fingerprint"]
    data = prepare_spec(old).data
    assert data.load().fingerprint == new.info.data_facts["fingerprint"]
    assert data.load_again(old).fingerprint == old.info.data_facts["fingerprint"]
    assert data.load_again(new).fingerprint == new.info.data_facts["fingerprint"]
    tokenizer = Tokenizer(new.files[TOKENIZER])
    test = tokenizer.decode(np.asarray(data.load().test_inputs).reshape(-1))
    assert test.startswith(" ".join(text(300, 1).splitlines()[:10])), "the test text is that file, from its first line"
    (root / "x.test.txt").write_text(text(300, 7))
    with pytest.raises(RunConflictError, match="other data"):
        batch(tmp_path / "new.zarr", **sections(root, at=["zero"]))


def test_a_run_from_before_goes_on_though_the_files_own_halves_would_be_too_short(tmp_path: Path, monkeypatch):
    root = folder_of(tmp_path / "text", {"x.train.txt": 0})
    (root / "x.test.txt").write_text("a few words\n")
    with monkeypatch.context() as patch:  # as it was once
        patch.setattr("lyrx.engine.data.text.of_names", lambda root, files: None)
        old, _ = batch(tmp_path / "old.zarr", **sections(root, at=["zero"]))
    data = prepare_spec(old).data
    assert data.load_again(old).fingerprint == old.info.data_facts["fingerprint"]
    with pytest.raises(DataError, match="too few for one sequence"):
        data.load()
    (root / "x.train.txt").write_text(text(300, 7))  # neither
    with pytest.raises(DataError, match="too few for one sequence"):
        data.load_again(old)


def broken(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return str(path)


def test_bad_text_is_named(tmp_path: Path, corpus: Path):
    latin = broken(tmp_path / "latin.txt", "gut\nschön\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"latin\.txt, line 2: byte 4 \(0xf6\) is no UTF-8"):
        TextSpec(root=latin, vocabulary=8).load()
    # Also where it is met only while the tokenizer learns.
    for half in ("train", "test"):
        (tmp_path / "halves" / half).mkdir(parents=True)
        (tmp_path / "halves" / half / "a.txt").write_text(text(300))
    (tmp_path / "halves" / "train" / "b.txt").write_bytes(Path(latin).read_bytes())
    with pytest.raises(DataError, match=r"^\S*train/b\.txt, line 2: byte 4 \(0xf6\) is no UTF-8 text.*leave it out\.$"):
        TextSpec(root=str(tmp_path / "halves"), vocabulary=30).load()
    for nothing in ("", "\n\n \n"):
        for name in ("a.txt", "b.txt"):
            (tmp_path / "halves" / "train" / name).write_text(nothing)
        with pytest.raises(DataError, match="no tokenizer can be made from this training text: there is nothing in it"):
            TextSpec(root=str(tmp_path / "halves"), vocabulary=30).load()
    with pytest.raises(DataError, match="zero byte"):
        TextSpec(root=broken(tmp_path / "b.bin", b"a\nb\0c\n"), vocabulary=8).load()
    with pytest.raises(DataError, match="cannot be split"):
        TextSpec(root=broken(tmp_path / "empty.txt", b""), vocabulary=8).load()
    with pytest.raises(DataError, match="too few for one sequence"):
        TextSpec(root=broken(tmp_path / "short.txt", b"a b c d\ne f g h\n"), vocabulary=8, length=100).load()
    with pytest.raises(DataError, match=r"no tokenizer of 30000 pieces.*data\.vocabulary"):
        TextSpec(root=str(corpus)).load()
    with pytest.raises(DataNotFoundError, match="no file or folder"):
        TextSpec(root=str(tmp_path / "nowhere")).load()
    with pytest.raises(DataNotFoundError, match=r"heldout-monolingual.*Unpack|Unpack.*heldout"):
        Lm1bSpec(root=str(tmp_path)).load()
    done = lyrx("batch", write_spec(tmp_path / "s.toml", **sections(Path(latin))), "--store", tmp_path / "s.zarr")
    assert done.returncode == 2
    assert "latin.txt, line 2" in done.stderr
    assert not (tmp_path / "s.zarr").exists()


# Judging


def test_judging_tokens_by_hand():
    logits = torch.tensor([[[2.0, 0.0], [0.0, 1.0]], [[float("nan"), 0.0], [3.0, 1.0]]])
    outcome = judge_tokens(logits, torch.tensor([[0, 0], [0, 0]]))
    assert outcome.prediction.tolist() == [[0, 1], [-1, 0]]
    assert outcome.wrong.tolist() == [[False, True], [True, False]]
    assert float(outcome.loss[0]) == pytest.approx((math.log(1 + math.exp(-2)) + math.log(1 + math.e)) / 2)
    with pytest.raises(ModelError, match="every next token"):
        judge_tokens(torch.zeros(2, 3, 4), torch.zeros(2, 2, dtype=torch.long))


# Training and probing


def by_hand(run, cell: Cell) -> tuple[float, float, float]:
    """(error, loss, agreement) of a reset, computed with nothing of the probe engine."""
    spec = run.info.spec
    data = TextSpec(**spec["data"]).load()
    probe = run.probe()
    model = build_model(prepare_spec(run).model, data.shape, data.classes, 0)
    load_arrays(model, run.checkpoints.tensors, run.checkpoints.read(run.checkpoints.final))
    model.eval()
    inputs, targets = (torch.from_numpy(np.array(a, dtype=np.int64)) for a in (data.test_inputs, data.test_targets))
    with torch.no_grad():
        trained = model(inputs).argmax(-1)
        early = run.checkpoints.read(probe.info.columns[cell.column].checkpoint)
        assert cell.layer is not None
        own = model.state_dict()
        for name in probe.info.layers[cell.layer].tensors:
            own[name].copy_(torch.from_numpy(np.array(early[name])))
        logits = model(inputs)
    wrong = (logits.argmax(-1) != targets).double().mean()
    loss = functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
    return float(wrong), float(loss), float((logits.argmax(-1) == trained).double().mean())


def prepare_spec(run):
    from lyrx.engine.specfile import stored_spec

    return stored_spec(run.info.spec, run.name, {})


@pytest.mark.parametrize("evaluator", ["replay", "full"])
def test_a_language_model_is_trained_and_probed(tmp_path: Path, corpus: Path, evaluator: str):
    run, _ = batch(tmp_path / "s.zarr", **sections(corpus, exact=True, evaluator=evaluator))
    history, _ = run.history.read()
    assert history[-1].test_error < run.info.data_facts["unigram_error"] - 0.2
    assert history[-1].test_loss < run.info.data_facts["unigram_loss"] - 0.5
    results = run.probe().results()
    assert not results.damaged
    assert run.status() == "complete"
    said = picture_json(take_picture(run))["baseline"]
    assert said["perplexity"] == pytest.approx(math.exp(history[-1].test_loss), rel=1e-3)
    for layer in range(len(run.probe().info.layers)):
        cell = Cell(layer, 1)
        error, loss, agreement = by_hand(run, cell)
        estimate = results.estimates[cell]
        assert estimate.low == estimate.high == estimate.error
        assert estimate.error == pytest.approx(error, abs=2e-3)
        assert estimate.loss == pytest.approx(loss, rel=1e-3)
        assert estimate.agreement == pytest.approx(agreement, abs=2e-3)


def test_estimates_sharpen_and_hold_the_exact_errors(tmp_path: Path, corpus: Path):
    rough, _ = batch(tmp_path / "s.zarr", **sections(corpus))
    early = rough.probe().results()
    assert min(estimate.n for estimate in early.estimates.values()) < rough.info.data_facts["test_examples"]
    exact, _ = batch(tmp_path / "s.zarr", **sections(corpus, exact=True))
    direct, _ = batch(tmp_path / "direct.zarr", **sections(corpus, exact=True))
    late = exact.probe().results().estimates
    assert {cell: e.error for cell, e in late.items()} == {
        cell: e.error for cell, e in direct.probe().results().estimates.items()
    }
    for cell, estimate in early.estimates.items():
        assert estimate.low - 1e-12 <= late[cell].error <= estimate.high + 1e-12


def test_a_run_keeps_its_tokenizer(tmp_path: Path, corpus: Path, cache: Path, monkeypatch):
    run, _ = batch(tmp_path / "s.zarr", **sections(corpus))
    assert Tokenizer(run.files[TOKENIZER]).decode([5])
    for path in cache.rglob("*.*"):
        path.unlink()
    monkeypatch.setattr("lyrx.engine.data.text.train_tokenizer", None)  # it is not needed again
    with Session(run, run.probe()) as session:
        assert session.total == run.info.data_facts["test_examples"]
    batch(tmp_path / "s.zarr", **sections(corpus, exact=True))
    (run.path / "files" / TOKENIZER).write_bytes(b"other")
    report = Report()
    list(check_store(Store.open(tmp_path / "s.zarr"), report))
    assert "files/tokenizer.model is damaged" in str(report.damaged[0])


def test_a_model_that_does_not_predict_every_token(corpus: Path, tmp_path: Path):
    from lyrx.engine.specfile import make_spec

    values = spec_values(
        **{**sections(corpus), "model": {"name": "models_for_tests:Causal", "options": {"vocabulary": 20}}}
    )
    with pytest.raises(ModelError):
        prepare(make_spec(values))
