"""Gradients estimated from answers (IF6), and inversion of a black box with them (IF7, B2, B3)."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dfml.compute.seeds import torch_generator
from dfml.inversion.objective import Adversary, Objective, Views
from dfml.inversion.per_model import FromScratch
from dfml.inversion.recovered import interleaved_targets
from dfml.methods.bidf_mkd import zeroth_order
from dfml.methods.bidf_mkd.zeroth_order import BlackBoxObjective, estimated_gradient
from dfml.zoo.access import LogitsOnly
from support.inversion import inversion_settings, linear_model
from support.zoo import CPU, SIDE, WAYS, random_model

DIMENSIONS, CLASSES, IMAGES = 48, 5, 6


def linear_softmax(points, *, seed=0):
    """The losses of a random linear classifier, and its gradients at ``points``."""
    weight = torch.randn(DIMENSIONS, CLASSES, dtype=torch.float64, generator=torch_generator(seed, "softmax"))
    targets = torch.arange(points.shape[0]) % CLASSES

    def loss(at):
        return F.cross_entropy((at @ weight).movedim(-1, 1), targets.expand(at.shape[:-1]), reduction="none")

    variable = points.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(variable).sum(), variable)
    return loss, gradient


def estimate(points, loss, directions, *, seed=0, radius=0.005):
    draws = torch_generator(seed, "directions")
    return estimated_gradient(loss, points, loss(points), directions=directions, radius=radius, generator=draws)


class TestEstimate:
    @pytest.mark.parametrize(
        ("directions", "images", "cosine", "tolerance"),
        [(100, 40, 0.80, 0.05), (1000, 40, 0.975, 0.01), (100_000, 2, 0.9995, 0.0004)],
    )
    def test_comes_closer_to_the_gradient_with_more_directions(self, directions, images, cosine, tolerance):
        points = torch.randn(images, DIMENSIONS, dtype=torch.float64, generator=torch_generator(0, "points"))
        loss, gradient = linear_softmax(points)
        found = estimate(points, loss, directions)
        assert F.cosine_similarity(found, gradient).mean().item() == pytest.approx(cosine, abs=tolerance)
        # The squared length of the noise is (d − 1) / q times that of the gradient.
        length = (found.norm(dim=1) / gradient.norm(dim=1)).mean().item()
        assert length == pytest.approx(math.sqrt(1 + (DIMENSIONS - 1) / directions), rel=0.03)

    def test_is_the_mean_over_directions_written_out(self):
        points = torch.randn(2, 3, 4, 4, dtype=torch.float64, generator=torch_generator(1))
        slope = torch.randn(2, 3, 4, 4, dtype=torch.float64, generator=torch_generator(2))

        def loss(at):
            return (at * slope).flatten(-3).sum(-1).square()

        found = estimate(points, loss, 7, radius=0.1)
        units = torch.randn(7, *points.shape, dtype=torch.float64, generator=torch_generator(0, "directions"))
        expected = torch.zeros_like(points)
        for unit in units:
            unit = unit / unit.flatten(1).norm(dim=1)[:, None, None, None]  # noqa: PLW2901
            steps = (loss(points + 0.1 * unit) - loss(points)) / 0.1
            expected += 48 / 7 * steps[:, None, None, None] * unit
        torch.testing.assert_close(found, expected)

    def test_does_not_depend_on_how_many_are_asked_at_once(self, monkeypatch):
        points = torch.randn(IMAGES, DIMENSIONS, dtype=torch.float64, generator=torch_generator(0, "points"))
        loss, _ = linear_softmax(points)
        asked = []

        def counted(at):
            asked.append(len(at))
            return loss(at)

        whole = estimate(points, counted, 11)
        monkeypatch.setattr(zeroth_order, "QUESTION", 4 * points.numel())
        torch.testing.assert_close(estimate(points, counted, 11), whole)
        assert [count for count in asked if count != IMAGES] == [11, 4, 4, 3]


def black_box(**changes):
    facts = {"ce_weight": 1.0, "bn_weight": 0.0, "views": Views(0, per_sample=True), "directions": 5, "radius": 0.005}
    facts["generator"] = torch_generator(0, "directions")
    return BlackBoxObjective(**(facts | changes))


def batch(model, dtype=torch.float64):
    """Images, targets and crops and flips of a question; the images ask for gradients."""
    images = torch.rand(2 * WAYS, 3, SIDE, SIDE, dtype=dtype, generator=torch_generator(0, "images"))
    targets = interleaved_targets(WAYS, 2, CPU)
    return (
        images.requires_grad_(),
        targets,
        Views(0, per_sample=True).draw(
            images=len(images), canvas=SIDE, side=model.side, generator=torch_generator(0, "moves")
        ),
    )


def adversary(loss="l1", *, student_grad=False, scale=1.0, weight=0.5):
    """A linear student whose answers differ from a linear model's."""
    student = linear_model(seed=7, dtype=torch.float64).network
    return Adversary(weight, loss, lambda model, inputs: scale * student(inputs), student_grad)


def cosine(a, b):
    return F.cosine_similarity(a.flatten(), b.flatten(), dim=0).item()


class TestObjective:
    @pytest.mark.parametrize("loss", ["js", "l1"])
    @pytest.mark.parametrize("student_grad", [False, True])
    def test_is_that_of_the_white_box_with_an_estimated_gradient(self, loss, student_grad):
        model = linear_model(dtype=torch.float64)
        images, targets, crop_flips = batch(model)
        rival = adversary(loss, student_grad=student_grad)
        white = Objective(ce_weight=1.5, bn_weight=0.0, views=Views(0, per_sample=True), adversary=rival)
        expected, cross_entropy = white(model, images, targets, crop_flips)
        found, own_cross_entropy = black_box(ce_weight=1.5, adversary=rival, directions=4000)(
            model, images, targets, crop_flips
        )
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(own_cross_entropy, cross_entropy)
        gradients = [torch.autograd.grad(value, images)[0] for value in (found, expected)]
        assert cosine(*gradients) == pytest.approx(math.sqrt(1 / (1 + 3 * SIDE**2 / 4000)), abs=0.05)

    def test_what_it_returns_is_the_loss_or_the_surrogate_with_one_gradient(self):
        model = linear_model(dtype=torch.float64)
        images, targets, crop_flips = batch(model)
        results = {
            rule: black_box(best_by=rule, generator=torch_generator(3))(model, images, targets, crop_flips)[0]
            for rule in ("loss", "surrogate")
        }
        gradient, same = (torch.autograd.grad(value, images)[0] for value in results.values())
        assert torch.equal(gradient, same)
        inputs = model.inputs(images.detach())
        # The estimate, from what reaches the images: 1 / B of it divided by the deviation of each channel.
        estimated = gradient * len(images) * model.std[:, None, None]
        surrogate = (inputs * estimated).flatten(1).sum(1).mean()
        torch.testing.assert_close(results["surrogate"], surrogate)
        torch.testing.assert_close(results["loss"], F.cross_entropy(model.logits(images.detach()), targets))

    def test_a_recomputed_mask_makes_the_loss_jump(self):
        """Images on the border of agreement: a small step across it changes the loss by the whole term (B3)."""
        model = linear_model(dtype=torch.float64)
        images, targets, crop_flips = batch(model)
        # The student always names the first class; move every image to where the model is torn between two.
        head, inputs = model.network[1], model.inputs(images.detach()).flatten(1)
        gap = head.weight[0] - head.weight[1]
        inputs = inputs - (inputs @ gap)[:, None] * gap / gap.square().sum()
        third = head.weight[2] - head.weight[0]
        third = third - (third @ gap) * gap / gap.square().sum()
        inputs = inputs - ((inputs @ third) + 5)[:, None] * third / third.square().sum()
        torn = (inputs.view_as(images) * model.std[:, None, None] + model.mean[:, None, None]).detach().requires_grad_()
        first = torch.tensor([4.0, 0.0, 0.0], dtype=torch.float64)

        def gradient(mask, radius):
            rival = Adversary(1.0, "l1", lambda model, inputs: first.expand(len(inputs), WAYS), False)
            one = black_box(mask=mask, adversary=rival, ce_weight=0.0, radius=radius, generator=torch_generator(5))
            return torch.autograd.grad(one(model, torn, targets, crop_flips)[0], torn)[0].norm().item()

        fixed, recomputed = ([gradient(mask, radius) for radius in (1e-2, 1e-4)] for mask in ("fixed", "recomputed"))
        assert fixed[0] == pytest.approx(fixed[1], rel=0.1)
        assert recomputed[1] > 30 * recomputed[0] > 30 * fixed[0]


class _NoWayBack(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        raise AssertionError("the model was differentiated")


class Sealed(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        return self.network(_NoWayBack.apply(images))


def linear_model_of(network):
    return random_model(dtype=torch.float32, network=network)


class TestBlackBox:
    settings = inversion_settings(per_model={"steps": 4})

    def recover(self, model, objective):
        return FromScratch(self.settings, objective, side=SIDE, device=CPU)(model, torch_generator(0, "recover"))

    def test_no_gradient_is_asked_for_and_every_query_is_counted(self):
        sealed = Sealed(linear_model().network)
        with pytest.raises(AssertionError, match="differentiated"):
            self.recover(linear_model_of(sealed), Objective(1.0, 0.0, Views(1, per_sample=True)))
        model = linear_model_of(LogitsOnly(sealed))
        item = self.recover(model, black_box(views=Views(1, per_sample=True)))
        assert model.network.queries == (5 + 1) * len(item.images) * 4

    def test_learns_what_the_model_asks(self):
        settings = inversion_settings(per_model={"steps": 40, "learning_rate": 0.01, "latent_learning_rate": 0.01})
        model = linear_model_of(LogitsOnly(linear_model().network))
        recover = FromScratch(settings, black_box(directions=40), side=SIDE, device=CPU)
        curve = recover(model, torch_generator(0, "recover")).curve
        assert curve[-1] < 0.5 * curve[0]

    @pytest.mark.parametrize("rule", ["loss", "surrogate"])
    def test_the_rule_decides_which_images_are_kept(self, rule):
        """The surrogate is lowest where the estimate is large, not where the model is content (B2)."""
        settings = inversion_settings(per_model={"steps": 12, "learning_rate": 0.03, "latent_learning_rate": 0.03})
        model = linear_model_of(LogitsOnly(linear_model().network))
        seen, returned = [], []

        class Watched(BlackBoxObjective):
            def __call__(self, model, images, targets, crop_flips):
                loss, cross_entropy = super().__call__(model, images, targets, crop_flips)
                seen.append(images.detach().clone())
                returned.append(loss.detach())
                return loss, cross_entropy

        objective = Watched(**vars(black_box(best_by=rule, directions=40)))
        item = FromScratch(settings, objective, side=SIDE, device=CPU)(model, torch_generator(0, "recover"))
        (kept,) = [step for step, images in enumerate(seen) if torch.equal(images, item.images)]
        assert kept == torch.stack(returned).argmin()
        assert (kept == item.curve.argmin()) == (rule == "loss")
