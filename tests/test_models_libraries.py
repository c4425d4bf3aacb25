"""Models of torchvision, timm and transformers by name: sizes, names of rows, probes, and what is refused."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from lyrx.engine import probe
from lyrx.engine.building import build_model, starting_model
from lyrx.engine.errors import ModelError, SpecError
from lyrx.engine.layers import find_layers
from lyrx.engine.models import model_spec
from lyrx.engine.specfile import make_spec
from lyrx.engine.state import describe, load_arrays, named_tensors, same_bits, state_arrays
from running import environment, lyrx, spec_values, write_spec
from torch import nn
from torch.nn import functional

pytest.importorskip("timm")
pytest.importorskip("transformers")

IMAGE = (3, 32, 32)
VIT = {"patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3}
MIXER = {"patch_size": 8, "embed_dim": 24, "num_blocks": 2, "img_size": 32, "num_classes": 10}
HF_VIT = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 48, "patch_size": 8}
GPT2 = {"n_layer": 2, "n_embd": 24, "n_head": 3}
LLAMA = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}

SMALL: dict[str, tuple[dict[str, Any], tuple[int, ...], int]] = {
    "timm vit": ({"name": "timm:vit_tiny_patch16_224", "options": VIT}, IMAGE, 10),
    "timm mixer": ({"name": "timm.models.mlp_mixer:MlpMixer", "options": MIXER}, IMAGE, 10),
    "torchvision": ({"name": "torchvision:mnasnet0_5", "options": {"dropout": 0.0}}, IMAGE, 10),
    "hf vit": ({"name": "hf:vit", "options": HF_VIT}, IMAGE, 10),
    "hf gpt2": ({"name": "hf:gpt2", "options": GPT2}, (6,), 30),
    "hf llama": ({"name": "hf:llama", "options": LLAMA}, (6,), 30),
}


def built(values: dict[str, Any], shape: tuple[int, ...], classes: int, seed: int = 1) -> nn.Module:
    return build_model(model_spec(values), shape, classes, seed)


@torch.no_grad()
def stirred(model: nn.Module) -> nn.Module:
    """With something in every weight: a head that begins with zeros (timm's Mixer) hides all that is before it."""
    generator = torch.Generator().manual_seed(7)
    for parameter in model.parameters():
        parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model


def inputs(shape: tuple[int, ...], classes: int, count: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    if len(shape) == 1:
        return torch.randint(classes, (count, *shape), generator=generator)
    return torch.randn(count, *shape, generator=generator)


@pytest.mark.parametrize(
    ("name", "size", "parameters"),
    [
        # As published with the weights of ImageNet.
        ("timm:vit_base_patch16_224", 224, 86_567_656),
        ("timm:vit_small_patch16_224", 224, 22_050_664),
        ("timm:mixer_b16_224", 224, 59_880_472),
        ("timm:resnet50", 224, 25_557_032),
        ("torchvision:vit_b_16", 224, 86_567_656),
        ("torchvision:convnext_tiny", 224, 28_589_128),
        ("torchvision:swin_t", 224, 28_288_354),
    ],
)
def test_parameters_are_counted_as_published(name: str, size: int, parameters: int):
    with torch.device("meta"):
        model = model_spec({"name": name}).build((3, size, size), 1000)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


def test_a_seed_gives_the_librarys_own_initialisation():
    import timm
    import transformers
    from torchvision import models

    def same(ours: nn.Module, seed: int, make: Any) -> bool:
        torch.manual_seed(seed)
        theirs = make()
        a, b = named_tensors(ours), named_tensors(theirs)
        return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in b)

    vit = built(*SMALL["timm vit"], seed=3)
    assert same(vit, 3, lambda: timm.create_model("vit_tiny_patch16_224", num_classes=10, img_size=32, **VIT))
    mnas = built(*SMALL["torchvision"], seed=3)
    assert same(mnas, 3, lambda: models.mnasnet0_5(num_classes=10, dropout=0.0))
    config = transformers.GPT2Config(vocab_size=30, bos_token_id=None, eos_token_id=None, **GPT2)
    assert same(built(*SMALL["hf gpt2"], seed=3), 3, lambda: transformers.GPT2LMHeadModel(config))


@pytest.mark.parametrize("name", SMALL)
def test_scores_one_step_and_a_state_that_goes_into_another_network(name: str):
    values, shape, classes = SMALL[name]
    model, x = stirred(built(values, shape, classes)), inputs(shape, classes)
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
    model.eval()
    expected = (4, 6, classes) if len(shape) == 1 else (4, classes)
    output = model(x)
    assert type(output) is torch.Tensor
    assert output.shape == expected
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    model.train()
    targets = torch.randint(classes, expected[:-1], generator=torch.Generator().manual_seed(1))
    functional.cross_entropy(model(x).reshape(-1, classes), targets.reshape(-1)).backward()
    torch.optim.Adam(model.parameters(), lr=0.001, eps=1e-12).step()
    assert [name for name, parameter in model.named_parameters() if torch.equal(parameter, before[name])] == []
    other = built(values, shape, classes, seed=2)
    infos = {info.name: info for info in describe(model)}
    load_arrays(other, infos, state_arrays(model, infos.values()))
    assert all(same_bits(named_tensors(other)[name], tensor) for name, tensor in named_tensors(model).items())
    assert torch.equal(model.eval()(x), other.eval()(x))


ROWS = {
    "timm vit": (
        ["cls_token", "pos_embed", "patch_embed.proj", *(f"blocks.{i}.{p}" for i in (0, 1) for p in ("attn", "mlp")),
         "norm", "head"],
        ["cls_token", "pos_embed", "patch_embed.proj", "blocks.0", "blocks.1", "norm", "head"],
    ),
    "timm mixer": (
        ["stem.proj", *(f"blocks.{i}.{p}" for i in (0, 1) for p in ("mlp_tokens", "mlp_channels")), "norm", "head"],
        ["stem.proj", "blocks.0", "blocks.1", "norm", "head"],
    ),
    "hf vit": (None, ["vit.embeddings.cls_token", "vit.embeddings.position_embeddings",
                      "vit.embeddings.patch_embeddings.projection", "vit.layers.0", "vit.layers.1", "vit.layernorm",
                      "classifier"]),
    "hf gpt2": (
        ["transformer.wte", "transformer.wpe", *(f"transformer.h.{i}.{p}" for i in (0, 1) for p in ("attn", "mlp")),
         "transformer.ln_f"],
        ["transformer.wte", "transformer.wpe", "transformer.h.0", "transformer.h.1", "transformer.ln_f"],
    ),
    "hf llama": (
        ["model.embed_tokens", *(f"model.layers.{i}.{p}" for i in (0, 1) for p in ("self_attn", "mlp")), "model.norm",
         "lm_head"],
        ["model.embed_tokens", "model.layers.0", "model.layers.1", "model.norm", "lm_head"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_names_of_layers_and_blocks(name: str):
    values, shape, classes = SMALL[name]
    model = built(values, shape, classes)
    for granularity, expected in zip(("layer", "block"), ROWS[name], strict=True):
        found = find_layers(model, describe(model), inputs(shape, classes), granularity)
        claimed = [tensor for row in found.rows for tensor in row.tensors]
        assert {info.name for info in describe(model) if info.kind == "parameter"} == set(claimed)
        assert len(claimed) == len(set(claimed))
        if expected is not None:
            assert [row.name for row in found.rows] == expected


@pytest.mark.parametrize("name", SMALL)
def test_a_probe_gives_what_full_forwards_give(name: str):
    values, shape, classes = SMALL[name]
    fresh, trained = built(values, shape, classes, seed=1), stirred(built(values, shape, classes, seed=2))
    x = inputs(shape, classes, 12)
    start = {name: tensor.clone() for name, tensor in fresh.state_dict().items()}
    targets = trained.eval()(x).argmax(-1)
    found = {}
    for evaluator in ("replay", "full"):
        found[evaluator] = probe(
            trained, (x, targets), {0: start}, granularity="block", evaluator=evaluator, batch_size=6,
            correct=lambda output, wanted: (output.argmax(-1) == wanted).reshape(len(wanted), -1)[:, -1],
        )  # fmt: skip
    assert found["replay"].fallbacks == ()
    assert found["full"].baseline == 0
    assert (found["replay"].error == found["full"].error).all()
    assert found["full"].error.max() > 0.2


@pytest.mark.parametrize(
    ("values", "shape", "said"),
    [
        ({"name": "timm:vit_bas_patch16_224"}, IMAGE, "Did you mean 'vit_base_patch16_224'"),
        ({"name": "timm:hf_hub:somebody/model"}, IMAGE, r"name of an architecture.*model\.weights"),
        ({"name": "timm:resnet18", "options": {"num_classes": 3}}, IMAGE, "comes from the data"),
        ({"name": "timm:resnet18", "options": {"pretrained": True}}, IMAGE, r"comes from model\.weights"),
        ({"name": "timm:resnet18", "options": {"depht": 3}}, IMAGE, "depht"),
        ({"name": "timm:vit_tiny_patch16_224"}, (3, 30, 30), "30 x 30 cannot be cut into patches of 16 x 16; 32 x 32"),
        ({"name": "timm:resnet18"}, (64,), "works on images"),
        ({"name": "torchvision:resnet19"}, IMAGE, "Did you mean 'resnet18'"),
        ({"name": "torchvision:resnet18", "options": {"grops": 3}}, IMAGE, "grops"),
        ({"name": "torchvision:resnet18"}, (1, 32, 32), "3 channels; the data have 1"),
        ({"name": "hf:gpt22"}, (6,), "no type of model.*Did you mean 'gpt2'"),
        ({"name": "hf:gpt2", "options": {"n_layers": 2}}, (6,), "no key 'n_layers'.*Did you mean 'n_layer'"),
        ({"name": "hf:gpt2", "options": {"vocab_size": 2}}, (6,), "comes from the data"),
        ({"name": "hf:llama", "options": {**LLAMA, "num_attention_heads": 5}}, (6,), "llama' with options"),
        ({"name": "hf:bert"}, IMAGE, "no network in transformers that can classify images"),
        ({"name": "hf:vit"}, (6,), "no network in transformers that is a causal language model"),
        ({"name": "hf:gpt2"}, (2, 6), "works on images.*or sequences of tokens"),
        ({"name": "hf:./nowhere"}, (6,), "no file .*/nowhere/config.json"),
        ({"name": "tim:resnet18"}, IMAGE, "cannot import 'tim'.*Did you mean 'timm'"),
    ],
)
def test_what_cannot_be_built_is_refused(values: dict[str, Any], shape: tuple[int, ...], said: str):
    with pytest.raises(ModelError, match=said):
        built(values, shape, 10)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("resnet19", "unknown model 'resnet19'. Did you mean 'resnet18'"),
        ("transfomer", "Did you mean 'transformer'"),
        ("timm:", "names no model; write it as 'timm:NAME'"),
    ],
)
def test_unknown_names_are_refused_with_the_spec(name: str, said: str):
    with pytest.raises(SpecError, match=said):
        make_spec(spec_values(model={"name": name}))


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"name": "resnet18", "stam": "cifar"}, "unknown key 'model.stam'. Did you mean 'stem'"),
        ({"name": "resnet18", "stem": "cifra"}, "'model.stem'.*Did you mean 'cifar'"),
        ({"name": "transformer", "heads": 3}, "model.heads: 3 heads cannot share a width of 512"),
        ({"name": "transformer", "width": 15, "heads": 3}, "model.width: must be even"),
    ],
)
def test_impossible_keys_are_refused_with_the_spec(model: dict[str, Any], said: str):
    with pytest.raises(SpecError, match=said):
        make_spec(spec_values(model=model))


@pytest.mark.slow
def test_a_wrong_model_ends_a_batch_with_exit_code_2_and_nothing_is_written(tmp_path: Path):
    spec = write_spec(tmp_path / "s.toml", model={"name": "torchvision:resnet19"})
    done = lyrx("batch", spec, "--store", tmp_path / "store")
    assert done.returncode == 2
    assert "Did you mean 'resnet18'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "store").exists()


def said_in_a_process(code: str, names: list[str], **variables: str) -> list[str]:
    """What a process says for each name: the error of `code`, which knows it as `name`."""
    tried = f"try:\n        {code}\n    except Exception as error: print(type(error).__name__, error)"
    program = (
        "import sys\nfrom lyrx.engine.models import model_spec\nfrom lyrx.engine.building import build_model\n"
        f"for name in {names!r}:\n    {tried}\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment(**variables), check=True
    )
    return done.stdout.splitlines()


def test_a_missing_package_is_named_with_the_command_that_installs_it():
    code = (
        "sys.modules.update(dict.fromkeys(['timm', 'transformers']))\n"
        "        build_model(model_spec({'name': name}), (3, 32, 32), 10, 0)"
    )
    lines = said_in_a_process(code, ["timm:resnet18", "hf:gpt2"])
    for line, extra in zip(lines, ("timm", "hf"), strict=True):
        assert line.startswith("ModelError")
        assert f"pip install 'lyrx[{extra}]'" in line


@pytest.mark.slow
def test_weights_that_no_hub_gives_are_said_to_be_missing(tmp_path: Path):
    names = ["timm:vit_tiny_patch16_224", "hf:gpt2", "hf:nobody/nothing"]
    code = "model_spec({'name': name, 'weights': 'pretrained'}).pretrained()"
    folder = str(tmp_path)
    lines = said_in_a_process(code, names, HF_HUB_OFFLINE="1", HF_HOME=folder, TORCH_HOME=folder)
    for line, name in zip(lines, names, strict=True):
        assert line.startswith(f"ModelError model '{name}'")
        assert "cannot be fetched" in line
        assert "Without a network" in line


def test_torchvisions_weights_that_cannot_be_fetched(monkeypatch: pytest.MonkeyPatch):
    def no_network(*_: object, **__: object) -> None:
        raise OSError("no route\x1b to host")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", no_network)
    with pytest.raises(ModelError, match=r"cannot be fetched: OSError: no route\\x1b to host.*model\.weights = 'FILE'"):
        model_spec({"name": "torchvision:resnet18"}).pretrained()
    with pytest.raises(ModelError, match="no pretrained weights of it"):
        model_spec({"name": "resnet18"}).pretrained()


def test_a_folder_of_transformers_says_what_the_network_is(tmp_path: Path):
    import transformers

    config = transformers.GPT2Config(vocab_size=30, n_layer=1, n_embd=16, n_head=2)
    saved = transformers.GPT2LMHeadModel(config)
    saved.save_pretrained(tmp_path / "net")
    values = {"name": f"hf:{tmp_path}/net"}
    spec = model_spec(values)
    assert model_spec({"name": f"hf:{tmp_path}/net/config.json"}) == spec
    model = built(values, (6,), 30)
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in saved.parameters())
    assert not torch.equal(model.transformer.wte.weight, saved.transformer.wte.weight)  # type: ignore[union-attr]
    first = spec.source()["model source"]
    content = json.loads((tmp_path / "net" / "config.json").read_text())
    (tmp_path / "net" / "config.json").write_text(json.dumps({**content, "n_layer": 2}))
    assert spec.source()["model source"] != first
    (tmp_path / "net" / "config.json").write_text("no json")
    with pytest.raises(ModelError, match="is no configuration"):
        built(values, (6,), 30)


def test_training_starts_from_the_weights_of_a_folder(tmp_path: Path):
    import transformers

    config = transformers.ViTConfig(image_size=8, num_channels=1, num_labels=4, **{**HF_VIT, "patch_size": 4})
    saved = transformers.ViTForImageClassification(config)
    saved.save_pretrained(tmp_path / "net")
    values = spec_values(model={"name": f"hf:{tmp_path}/net", "weights": str(tmp_path / "net")})
    spec = make_spec(values)
    data = spec.data.load()
    model, fresh = starting_model(spec, data), built({"name": f"hf:{tmp_path}/net"}, data.shape, 10)
    tensors, theirs = named_tensors(model), named_tensors(saved)
    same = {name for name in tensors if torch.equal(tensors[name], theirs[name]) and tensors[name].any()}
    drawn = {name for name in theirs if theirs[name].any()}
    # Its head is of other classes, and stays as it is in a fresh network.
    assert {name for name in drawn if name not in same} == {"classifier.weight"}
    assert tensors["classifier.weight"].shape == named_tensors(fresh)["classifier.weight"].shape == (10, 24)
