"""ELPN's multi-angle pose distillation (§4): a trained network teaches by regression and by classification."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace

import torch
from torch import Tensor

from converters.training.loop import Recipe, Task
from converters.training.losses import HeatmapLoss, squared_error, trusted_mean
from converters.training.pose import PoseTask
from converters.training.validation import Network
from mobilepose_sdk.errors import InvalidInputError

NEAR = 0.3
"""Pixels whose target value is above this are near the keypoint: within 1.55 standard deviations."""
SURE = 0.4


@dataclass(frozen=True)
class MAPDLoss:
    """``α · MSE(student, teacher) + β · KL(teacher ‖ student) + (1 - α - β) · label loss`` (eq. 1-3).

    The teacher's terms count every keypoint, labelled or not: its opinion needs no label. A label that it surely
    contradicts does not count.

    Attributes:
        alpha: share of the squared error to the teacher's heatmaps.
        beta: share of the KL divergence between the softmaxes of the heatmaps over their pixels.
        sharpness: heatmaps are multiplied by it before the softmax. Eq. 2 prints none, and no softmax either; with 1 a
            unit Gaussian on 3,072 pixels is all but uniform; 10 is what the label loss uses.
        label: the loss against the labels; the paper's is the squared error alone.
        sure: least height of the teacher's peak for it to contradict a label, whose place it sees at less than a
            quarter of that; above 1, labels always count, as in the paper.
    """

    alpha: float = 0.15
    beta: float = 0.075
    sharpness: float = 1.0
    label: HeatmapLoss = field(default_factory=lambda: HeatmapLoss(cross_entropy=0.0))
    sure: float = 2.0

    def __call__(self, student: Tensor, teacher: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """Loss of heatmaps (N, K, H, W) against the teacher's and the labels', weights (N, K)."""
        everything = torch.ones_like(weights)
        log_student = torch.log_softmax(self.sharpness * student.flatten(2), dim=2)
        log_teacher = torch.log_softmax(self.sharpness * teacher.flatten(2), dim=2)
        divergence = (log_teacher.exp() * (log_teacher - log_student)).sum(dim=2)
        return (
            self.alpha * trusted_mean(squared_error(student, teacher), everything)
            + self.beta * trusted_mean(divergence, everything)
            + (1 - self.alpha - self.beta)
            * self.label(student, targets, weights * ~self.contradicted(teacher, targets))
        )

    def contradicted(self, teacher: Tensor, targets: Tensor) -> Tensor:
        """(N, K): where the teacher is sure that a keypoint is not where the target (N, K, H, W) has it."""
        height = teacher.amax(dim=(2, 3))
        there = (teacher * (targets > NEAR)).amax(dim=(2, 3))
        return (height >= self.sure) & (there < height / 4)


@dataclass(frozen=True)
class DistilledPoseTask(PoseTask):
    """A pose task with a teacher: a trained network of the same input and output size.

    Attributes:
        teacher: whom the student learns from, see :mod:`converters.training.teachers`.
        taught_size: (width, height) of the pictures that the teacher knows. On others the labels teach alone.
    """

    teacher: Network = field(kw_only=True)
    taught_size: tuple[int, int] = (192, 256)
    distillation: MAPDLoss = field(default_factory=MAPDLoss)

    def with_shares(self, alpha: float, beta: float) -> DistilledPoseTask:
        """The teacher's two terms weighted otherwise; the labels' share is what they leave.

        Raises:
            InvalidInputError: a share is negative, or they leave less than nothing.
        """
        if not (alpha >= 0 and beta >= 0 and alpha + beta <= 1):
            raise InvalidInputError(f"shares are at least 0, and at most 1 together, not {alpha:g} and {beta:g}")
        return replace(self, distillation=replace(self.distillation, alpha=alpha, beta=beta))

    def loss(self, outputs: Tensor, pictures: Tensor, truth: tuple[Tensor, ...]) -> Tensor:
        if tuple(pictures.shape[:1:-1]) != self.taught_size:
            return super().loss(outputs, pictures, truth)
        return self.distillation(outputs, self.teacher(pictures), *self.targets(outputs, truth))


def mapd(task: Task, recipe: Recipe, teacher: Network | None = None) -> tuple[Task, Recipe]:
    """The task taught by ``teacher``, on pictures of full size; on the smaller ones before, it knows little.

    The cross-entropy of the usual loss stays beside the paper's terms, and labels that the teacher surely contradicts
    are left out: LSP-extended's left and right are often swapped.
    """
    if teacher is None or not isinstance(task, PoseTask):
        raise InvalidInputError("mapd needs a top-down network and a trained one to learn from: --teacher MODEL")
    loss = MAPDLoss(sharpness=task.criterion.sharpness, label=task.criterion, sure=SURE)
    given = {entry.name: getattr(task, entry.name) for entry in fields(PoseTask)}
    size = recipe.stages[-1].input_size
    return DistilledPoseTask(**given, teacher=teacher, taught_size=size, distillation=loss), recipe
