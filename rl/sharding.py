"""Weights that are spread over processes (FSDP2, ZeRO-3), and a whole copy of them to draw and to audit with.

Drawing runs the model another number of times in each process, while a forward pass of spread weights needs all processes
together. So the trainer gets a copy of the model to spread, and the first one stays whole:
before it is used all processes bring it up to date, parameter by parameter.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.distributed.tensor import DTensor


@torch.no_grad()
def refresh(whole: torch.nn.Module, spread: torch.nn.Module) -> None:
    """Give `whole` the weights of `spread`. All processes must call this together; one on the meta device keeps nothing."""
    mine = dict(whole.named_parameters(remove_duplicate=False))  # tied weights come apart on the meta device
    for name, theirs in spread.named_parameters():
        mine[name].copy_(_gathered(theirs))


def _gathered(parameter: Any) -> torch.Tensor:
    if isinstance(parameter, DTensor):
        return parameter.full_tensor()
    if hasattr(parameter, "ds_id"):  # ZeRO-3's mark
        from deepspeed.zero import GatheredParameters  # type: ignore[import-not-found]  # pyright: ignore

        with GatheredParameters([parameter]):
            return parameter.data.clone()
    return parameter
