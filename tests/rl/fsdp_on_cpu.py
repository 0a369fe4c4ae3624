"""Run a script with FSDP on where accelerate leaves it off: on a CPU, where torch itself has it.

accelerate turns FSDP on for processes of GPUs alone, so here the processes say that they are such.
"""

import runpy
import sys

from accelerate import PartialState
from accelerate.utils import DistributedType
from torch.distributed.tensor import DTensor

import rl.sharding

start, gather = PartialState.__init__, rl.sharding._gathered


def as_gpus(self, *arguments, **options):
    start(self, *arguments, **options)
    if self.distributed_type == DistributedType.MULTI_CPU:
        PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU


def spread(parameter):
    assert isinstance(parameter, DTensor), "FSDP is not on"
    return gather(parameter)


if __name__ == "__main__":
    PartialState.__init__, rl.sharding._gathered = as_gpus, spread
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
