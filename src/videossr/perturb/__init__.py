"""The perturbations of anomaly grounding, drawn shapes, and what gates measure on frames."""

from videossr.perturb.base import PERTURBATIONS, Perturbation, open_perturbation
from videossr.perturb.strengths import Strengths

__all__ = ["PERTURBATIONS", "Perturbation", "Strengths", "open_perturbation"]
