"""Networks in files of the user's own: how they are built, and what is said of those that will not do."""

import json

import pytest
import torch
from pydantic import ValidationError

from dfml.artefacts.zoo import NetworkSpec
from dfml.compute.seeds import torch_generator
from dfml.errors import DfmlError
from dfml.networks import custom, trial
from dfml.networks.build import build_network
from dfml.networks.custom import describe, register_networks
from dfml.networks.settings import LearnerSettings
from dfml.networks.trial import check_network
from support.learners import one_thread  # noqa: F401 - an autouse fixture
from support.own_network import EXAMPLE, FAMILY, own_network

SIDE, WAYS = 16, 3


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch):
    """No family of an earlier test is known."""
    monkeypatch.setattr(custom, "_files", {})


@pytest.fixture
def file(tmp_path):
    return own_network(tmp_path)


def spec(*, side=SIDE, **options):
    return describe(LearnerSettings(family=FAMILY, width=4, options=options), ways=WAYS, side=side)


def weights(seed, **options):
    network = build_network(spec(**options), generator=torch_generator(seed))
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def test_the_example_of_the_documents_passes_its_trial(file):
    check_network(spec(), [SIDE])
    check_network(spec(side=None, blocks=2, activation="relu"), [16, 28])


def test_its_weights_are_those_of_the_generator_and_leave_the_global_numbers_alone(file):
    before = torch.random.get_rng_state()
    first, again, other = weights(0), weights(0), weights(1)
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(before, torch.random.get_rng_state())


def test_options_are_a_part_of_the_architecture(file):
    one, same, other = spec(blocks=2), spec(blocks=2), spec(blocks=3)
    assert one == same and hash(one) == hash(same) and one.architecture != other.architecture
    assert len(weights(0, blocks=2)) < len(weights(0, blocks=3))


def test_a_description_comes_with_its_code_or_is_of_the_package(file):
    known = spec().model_dump()
    for change in ({"code": None}, {"family": "conv4"}):
        with pytest.raises(ValidationError, match="code"):
            NetworkSpec(**(known | change))


def test_other_code_is_refused_and_a_remark_is_not(file):
    made = spec()
    file.write_text(f"# a remark\n{EXAMPLE}\n", encoding="utf-8")
    build_network(made)
    file.write_text(EXAMPLE.replace("padding=2", "padding=1"), encoding="utf-8")
    with pytest.raises(DfmlError, match=r"custom_networks\.wide: `.*wide\.py` is not the code that these weights were"):
        build_network(made)


def test_nothing_is_run_that_was_not_named(file, monkeypatch):
    made = spec()
    monkeypatch.setattr(custom, "_files", {})
    with pytest.raises(DfmlError, match="the network `wide` is no family of this package, and its file was not named"):
        build_network(made)


def test_files_of_two_folders_may_each_have_a_helper_of_one_name(tmp_path):
    sizes = {}
    for name, number in (("left", 1), ("right", 2)):
        code = f"from blocks_beside import BLOCKS\n{EXAMPLE}".replace("range(options.blocks)", "range(BLOCKS)")
        file = own_network(tmp_path / name, code)
        (tmp_path / name / "blocks_beside.py").write_text(f"BLOCKS = {number}\n", encoding="utf-8")
        register_networks({name: str(file)})
        network = build_network(describe(LearnerSettings(family=name, width=4), ways=WAYS, side=SIDE))
        sizes[name] = len(list(network.parameters()))
    assert sizes["right"] > sizes["left"]


def test_what_lies_beside_it_is_its_code(tmp_path):
    own_network(tmp_path, f"from blocks_beside import BLOCKS\n{EXAMPLE}")
    helper = tmp_path / "blocks_beside.py"
    helper.write_text("BLOCKS = 1\n", encoding="utf-8")
    before = spec().code
    helper.write_text("BLOCKS = 20\n", encoding="utf-8")
    assert spec().code != before


BATCH_NORM = "EpisodicBatchNorm2d(width, episodic=episodic)"
FEATURES = "return self.body(images).mean((2, 3))"
HEAD = "self.head = nn.Linear(width, ways)"
BODY = "self.body = nn.Sequential(*layers)"


def features(result, *before):
    """The example with other features."""
    return (FEATURES, "\n        ".join([*before, f"return {result.replace('FOUND', FEATURES[7:])}"]))


WRONG = {
    "another shape of features": ([features("self.body(images).mean(3)")], "features for 6 images have the shape"),
    "another number of outputs": ([(HEAD, "self.head = nn.Linear(width, ways + 1)")], "and 3 outputs"),
    "a head without a bias": ([(HEAD, "self.head = nn.Linear(width, ways, bias=False)")], "with a bias"),
    "a feature size that is not the head's": ([("size = width", "size = 7")], "`feature_size`, 7, is not what"),
    "state kept in forward": (
        [features("FOUND * self.calls", "self.calls = getattr(self, 'calls', 0) + 1")],
        "different answers in evaluation mode",
    ),
    "a buffer that moves": (
        [(BODY, f"{BODY}\n        self.count = nn.Buffer(torch.ones(()))"), features("FOUND * self.count.add_(1)")],
        "it keeps count beside its parameters",
    ),
    "dropout in evaluation mode": (
        [features("nn.functional.dropout(FOUND, 0.5, True)")],
        "different answers in evaluation mode: it uses dropout",
    ),
    "dropout in training": (
        [features("nn.functional.dropout(FOUND, 0.5, self.training)")],
        "different answers as a learner, which is always in training mode",
    ),
    "no parameters": ([features("images.mean((2, 3))"), (BODY, "width = 3")], "no parameters but those of its head"),
    "numbers that are none": ([features("FOUND / 0")], "features are not finite"),
    "plain batch norm": ([(BATCH_NORM, "nn.BatchNorm2d(width)")], "its batch norms must be dfml"),
    "batch norm that is not told": (
        [(BATCH_NORM, "EpisodicBatchNorm2d(width, episodic=False)")],
        "its batch norms must be given `episodic`",
    ),
    "images that are mixed": (
        [features("found - found.mean(0)", f"found = {FEATURES[7:]}")],
        "depends on the others in a batch",
    ),
    "parameters that nothing asks": (
        [(BODY, f"{BODY}\n        self.spare = nn.Linear(2, 2)")],
        "do not depend on spare.weight, spare.bias",
    ),
    "a decision by values": (
        [features("images.mean() > 9 and found or found * 2", f"found = {FEATURES[7:]}")],
        "torch.func.vmap cannot call it",
    ),
    "an answer past its head": (
        [
            (
                FEATURES,
                f"{FEATURES}\n\n    def forward(self, images):\n        return self.head(self.features(images)) + 1",
            )
        ],
        "not those of its head from its features",
    ),
    "an error in its constructor": ([(HEAD, "raise KeyError(width)")], "does not build a network (KeyError: 4)"),
    "an error in an answer": ([features("FOUND @ images")], "does not answer for 6 images of side 16 (RuntimeError"),
    "no classifier": ([("class Network(Classifier)", "class Network(nn.Module)")], "derive it from that"),
    "options of another kind": (
        [("class Options(Section)", "class Options"), ("= Field(3, ge=1, le=4)", "= 3")],
        "no class `Options` derived",
    ),
    "a file that cannot be run": ([("class Options(Section)", "1 / 0\nclass Options(Section)")], "cannot be imported"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_will_not_do_is_said_in_one_line(tmp_path, wrong):
    changes, said = WRONG[wrong]
    code = EXAMPLE.replace("from torch import", "import torch\nfrom torch import", 1)
    for before, after in changes:
        assert before in code
        code = code.replace(before, after)
    own_network(tmp_path, code)
    with pytest.raises(DfmlError) as caught:
        check_network(spec(), [SIDE])
    (line,) = str(caught.value).splitlines()
    assert line.startswith("custom_networks.wide: ") and said in line


def test_wrong_options_are_all_named(file):
    with pytest.raises(DfmlError) as caught:
        check_network(spec(blocks=9, activation="tanh", depth=3), [SIDE])
    line = str(caught.value)
    assert all(f"options.{name}: " in line for name in ("blocks", "activation", "depth"))


def test_the_trial_ends_with_the_key_of_the_first_that_fails(file, monkeypatch, capsys):
    def told(**options):
        network = {"family": FAMILY, "width": 4, "options": options}
        trials = [{"key": "networks.own", "network": network, "ways": 3, "side": SIDE, "sides": [SIDE]}]
        return json.dumps({"files": {FAMILY: str(file)}, "networks": trials})

    for options, code in (({}, 0), ({"blocks": 9}, 1)):
        monkeypatch.setattr("sys.stdin.read", lambda options=options: told(**options))
        assert trial.main() == code
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and "options.blocks" in said and "(as `networks.own`, for images of side 16)" in said
