"""Plays a lab with six classifiers and no images to give away: ``python examples/your_zoo/make_lab.py FOLDER``.

It trains six small models on embedded images, each on classes of its own, with plain PyTorch: two networks of the
lab's own, two ResNet-18 of torchvision, one exported program and a Conv4; some tell five classes apart, some eight.
FOLDER then holds their weights, `networks.py` and `card.yaml`, which is all that dfml is given
(docs/your_zoo.md). Six minutes of one core.
"""

import argparse
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
import yaml
from networks import grey_net, narrowing
from rich.console import Console
from safetensors.torch import save_file
from torch import Tensor, nn

from dfml.artefacts.zoo import NetworkSpec
from dfml.data.sources.embedded import read_embedded
from dfml.networks.build import build_network

HERE = Path(__file__).parent
IMAGES = HERE.parents[1] / "resources" / "embedded"
MEAN, STD = [0.5, 0.5, 0.5], [0.25, 0.25, 0.25]
GREY = (0.299, 0.587, 0.114)


def as_rgb(images: Tensor) -> Tensor:
    """Images in [0, 1] as most of the lab's networks take them."""
    return (images - 0.5) / 0.25


def as_grey(images: Tensor) -> Tensor:
    """As one of them does: one channel of 0 to 255."""
    return 255 * (images * torch.tensor(GREY)[:, None, None]).sum(1, keepdim=True)


def varied(images: Tensor) -> Tensor:
    """Each image ``[N, 3, side, side]`` moved by up to three pixels, with its channels permuted and some inverted."""
    side = images.shape[-1]
    padded = F.pad(images, (3, 3, 3, 3), mode="replicate")
    corners = torch.randint(0, 7, (len(images), 2)).tolist()
    moved = torch.stack([x[:, i : i + side, j : j + side] for x, (i, j) in zip(padded, corners, strict=True)])
    order = torch.stack([torch.randperm(3) for _ in moved])
    moved = moved.gather(1, order[:, :, None, None].expand_as(moved))
    return torch.where(torch.rand(len(moved), 3, 1, 1) < 0.5, 1 - moved, moved)


def train(
    network: nn.Module, prepare: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor, epochs: int
) -> float:
    """Train on four fifths of the images, and say how many of the others it recognises, in percent."""
    tested = torch.arange(len(images)) % 5 == 0
    optimiser = torch.optim.AdamW(network.parameters(), lr=4e-3)
    rows = (~tested).nonzero().flatten()
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=epochs * -(-len(rows) // 32))
    network.train()
    for _ in range(epochs):
        for chosen in rows[torch.randperm(len(rows))].split(32):
            answers = network(prepare(varied(images[chosen])))
            loss = (
                F.nll_loss(answers.clamp_min(1e-9).log(), labels[chosen])
                if answers.min() >= 0 and torch.allclose(answers.sum(1), torch.ones(len(chosen)))
                else F.cross_entropy(answers, labels[chosen])
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    network.eval()
    with torch.no_grad():
        right = network(prepare(images[tested])).argmax(1) == labels[tested]
    return 100 * right.float().mean().item()


def main(folder: Path, *, epochs: int, seed: int) -> None:
    """Train, and write weights, code and card."""
    torch.manual_seed(seed)
    console = Console(highlight=False)
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(HERE / "networks.py", folder / "networks.py")
    every = read_embedded("icons_colour", IMAGES)
    split = np.load(IMAGES / "icons.npz", allow_pickle=False)
    names = [name for name, part in zip(split["names"].tolist(), split["split"], strict=True) if part == 0]
    rng = np.random.default_rng(seed)

    def task(classes: int) -> tuple[list[str], Tensor, Tensor]:
        chosen = sorted(rng.choice(names, classes, replace=False).tolist())
        images = torch.cat([torch.from_numpy(np.array(every[name])) for name in chosen]).float() / 255
        labels = torch.cat([torch.full((len(every[name]),), label) for label, name in enumerate(chosen)])
        return chosen, images, labels

    models = []
    plans: list[tuple[str, int, str, dict[str, int], nn.Module]] = [
        ("birds", 5, "networks.py:narrowing", {"outputs": 5}, narrowing(5)),
        ("grey", 5, "networks.py:grey_net", {"outputs": 5}, grey_net(5)),
        ("resnet_a", 5, "torchvision:resnet18", {}, torchvision.models.resnet18(num_classes=5)),
        ("resnet_b", 8, "torchvision:resnet18", {}, torchvision.models.resnet18(num_classes=8)),
        ("sealed", 8, "program", {}, narrowing(8, width=32)),
        ("conv", 5, "dfml:conv4", {"width": 32}, _conv4(5)),
    ]
    for name, ways, network, options, module in plans:
        classes, images, labels = task(ways)
        prepare = as_grey if name == "grey" else as_rgb
        accuracy = train(module, prepare, images, labels, epochs)
        weights = _save(module, folder / name, prepare(images[:4]), program=network == "program")
        entry = {"name": name, "network": network, "weights": weights.name, "classes": classes}
        entry |= {"options": options} if options else {}
        entry |= {"trusted": True} if network == "program" else {}
        entry |= (
            {
                "outputs": "probabilities",
                "input": {"side": 32, "channels": "grey", "largest": 255, "mean": [0.0], "std": [1.0]},
            }
            if (name == "grey")
            else {}
        )
        models.append({**entry, "accuracy": round(accuracy, 1)})
        console.print(f"{name}: {ways} classes, {accuracy:.0f} % of its own test images")
    card = {
        "licence": "renderings of openly licensed art, see resources/embedded/ATTRIBUTION.md",
        "origin": "examples/your_zoo/make_lab.py",
        "input": {"side": 32, "mean": MEAN, "std": STD},
        "models": models,
    }
    (folder / "card.yaml").write_text(yaml.safe_dump(card, sort_keys=False), encoding="utf-8")
    console.print(f"Wrote {folder / 'card.yaml'}.")


def _conv4(ways: int) -> nn.Module:
    spec = NetworkSpec(family="conv4", width=32, ways=ways, side=32)
    return build_network(spec, generator=torch.Generator().manual_seed(0))


def _save(module: nn.Module, stem: Path, example: Tensor, *, program: bool) -> Path:
    """Weights as labs have them: safetensors, a state dict of torch.save, or a whole program."""
    if program:
        path = stem.with_suffix(".pt2")
        batch = torch.export.Dim("batch", min=1, max=4096)
        torch.export.save(torch.export.export(module, (example,), dynamic_shapes=({0: batch},)), path)
    elif stem.name.startswith("resnet"):
        path = stem.with_suffix(".pt")
        torch.save({"state_dict": module.state_dict()}, path)
    else:
        path = stem.with_suffix(".safetensors")
        save_file(module.state_dict(), path)
    return path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    main(given.folder, epochs=given.epochs, seed=given.seed)
