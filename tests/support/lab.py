"""A lab's small zoo from elsewhere: own modules, torchvision's, an exported program, a service; and its card."""

from pathlib import Path

import torch
import yaml
from safetensors.torch import save_file

from dfml.jobs.job import Job
from dfml.jobs.progress import NullProgress
from dfml.zoo.imported.card import register_cards
from dfml.zoo.imported.store import import_zoo
from dfml.zoo.pool import Pool
from support.zoo import CPU

SIDE = 32
MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.25, 0.3]

NETWORKS = """
import pathlib

import torch
from torch import nn


class Own(nn.Module):
    def __init__(self, outputs, width=6, norm=nn.BatchNorm2d):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, width, 3, stride=4), norm(width), nn.ReLU())
        self.answer = nn.Linear(width, outputs)

    def forward(self, images):
        return self.answer(self.first(images).mean((2, 3)))


class Grey(nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.layer = nn.Conv2d(1, outputs, 5, stride=3)

    def forward(self, images):
        return self.layer(images / 255).mean((2, 3)).softmax(1)


def own(outputs, width=6):
    return Own(outputs, width)


def plain(outputs):
    return Own(outputs, norm=lambda width: nn.Identity())


def grey(outputs):
    return Grey(outputs)


def dropping(outputs):
    network = Own(outputs)
    network.first.append(Chance())
    return network


class Chance(nn.Module):
    def forward(self, x):
        return x * (torch.rand_like(x) > 0.5)


class Counting(Own):
    def __init__(self, outputs):
        super().__init__(outputs)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, images):
        self.seen += len(images)
        return super().forward(images)


class Together(Own):
    def forward(self, images):
        return super().forward(images - images.mean(0))


class Drawn(Own):
    def __init__(self, outputs):
        super().__init__(outputs)
        self.register_buffer("mix", torch.rand(3, 1, 1), persistent=False)

    def forward(self, images):
        return super().forward(images * self.mix)


class Numbered(Own):
    def __init__(self, outputs):
        super().__init__(outputs)
        self.register_buffer("places", torch.zeros(3, dtype=torch.uint16))


class Rounded(Own):
    def forward(self, images):
        return super().forward(images).mul(8).round() / 8


class Writing(Own):
    def forward(self, images):
        return super().forward(images.mul_(0.5))


class Two(Own):
    def forward(self, images):
        return super().forward(images), images


class Lazy(Own):
    def __init__(self, outputs):
        super().__init__(outputs)
        self.answer = nn.LazyLinear(outputs)


def halved(outputs):
    return Own(outputs).half()


def beside(outputs):
    from blocks import Block

    return Block(outputs)


def service(asked=None, fails=None, how="raise"):
    # Notes each call in the file `asked`, and answers badly at call number `fails`.
    weight = torch.linspace(-1, 1, 15).view(5, 3)

    def answer(images):
        calls = []
        if asked is not None:
            calls = [*pathlib.Path(asked).read_text().split(), str(len(images))]
            pathlib.Path(asked).write_text(" ".join(calls))
        answers = images.mean((2, 3)) @ weight.T
        if len(calls) != fails:
            return answers
        if how == "raise":
            raise TimeoutError("no answer in 30 s")
        return {"text": "busy", "short": answers[1:], "nan": answers / 0}[how]

    return answer
"""


def write_networks(folder: Path) -> None:
    """The lab's code, with a new file each time it is called, so that nothing is remembered."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "nets.py").write_text(NETWORKS, encoding="utf-8")


def module(name, *arguments, seed=0, **options):
    """One of the lab's modules with weights of chance, in evaluation mode."""
    scope = {}
    exec(NETWORKS, scope)
    torch.manual_seed(seed)
    network = scope[name](*arguments, **options)
    for norm in network.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.running_mean.uniform_(-0.2, 0.2)
            norm.running_var.uniform_(0.5, 2)
    return network.eval()


def classes(count, first=0):
    """Names of classes."""
    return [f"thing {first + label}" for label in range(count)]


def model(folder, name, built, network, **facts):
    """The entry of a model whose weights are written into the folder."""
    save_file({key: tensor.contiguous() for key, tensor in built.state_dict().items()}, folder / f"{name}.safetensors")
    return {"name": name, "network": network, "weights": f"{name}.safetensors"} | facts


def program(folder, name, built, largest=1024, **facts):
    """The entry of a model that is an exported program, for batches up to ``largest``."""
    batch = torch.export.Dim("batch", min=1, max=largest)
    exported = torch.export.export(built, (torch.zeros(2, 3, SIDE, SIDE),), dynamic_shapes=({0: batch},))
    torch.export.save(exported, folder / f"{name}.pt2")
    return {"name": name, "network": "program", "weights": f"{name}.pt2", "trusted": True} | facts


def write_card(folder, models, **facts):
    """Write the card of these models, and name it as a configuration would; returns its path."""
    card = {"licence": "CC0", "input": {"side": SIDE, "mean": MEAN, "std": STD}, "models": models} | facts
    path = folder / "card.yaml"
    path.write_text(yaml.safe_dump(card, sort_keys=False), encoding="utf-8")
    register_cards([path])
    return path


def taken(card, folder, name="lab"):
    """Import the zoo of a card into a folder; returns its manifest."""
    return import_zoo(card, folder, name=name, job=Job("import_zoo", 1, 0, NullProgress()))


def pool_of(*folders, label_space="global", access="weights"):
    """The pool of these zoos."""
    return Pool.load(folders, label_space=label_space, device=CPU, access=access)


def write_lab(folder, *, service=None):
    """Models of 5 and 8 classes: own code with and without batch norm, grey and of an odd side, a program.

    ``service``: facts of one more that is a function only, beside those that it has by default.
    """
    write_networks(folder)
    own = module("own", 5)
    models = [
        model(folder, "birds", own, "nets.py:own", options={"outputs": 5}, classes=classes(5), accuracy=81.5),
        model(
            folder, "plain", module("plain", 8, seed=1), "nets.py:plain", options={"outputs": 8}, classes=classes(8, 3)
        ),
        model(
            folder,
            "grey",
            module("grey", 5, seed=2),
            "nets.py:grey",
            options={"outputs": 5},
            classes=classes(5, 2),
            outputs="probabilities",
            input={"side": SIDE + 2, "channels": "grey", "largest": 255, "mean": [0.0], "std": [1.0]},
        ),
        program(folder, "sealed", module("own", 8, seed=3), classes=classes(8, 1)),
    ]
    if service is not None:
        own = {"name": "service", "network": "nets.py:service", "answers_only": True, "classes": classes(5)}
        models.append(own | service)
    return write_card(folder, models)
