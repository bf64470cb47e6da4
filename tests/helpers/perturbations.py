"""The perturbations of the package by kind, made through their entry points."""

from __future__ import annotations

from videossr.perturb import PERTURBATIONS, open_perturbation
from videossr.perturb.pixel import PixelPerturbation
from videossr.perturb.speed import SpeedPerturbation
from videossr.perturb.temporal import OrderPerturbation

NAMES = PERTURBATIONS.names()
_ALL = {name: open_perturbation(name) for name in NAMES}
PIXELS = {name: kind for name, kind in _ALL.items() if isinstance(kind, PixelPerturbation)}
ORDERS = {name: kind for name, kind in _ALL.items() if isinstance(kind, OrderPerturbation)}
SPEEDS = {name: kind for name, kind in _ALL.items() if isinstance(kind, SpeedPerturbation)}
