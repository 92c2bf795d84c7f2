"""A device without hardware: its tensors hold tensors of the processor, and refuse to be mixed with others.

What works here works on a GPU as far as devices go. Inside `Device()` the device is called "simulated".
"""

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "simulated"
MIXING = {"_to_copy", "copy_", "index", "index_put_", "_index_put_impl_"}  # what takes tensors of two devices


class Backend:
    """What torch asks of a device."""

    def is_initialized(self):
        return True

    def is_available(self):
        return True

    def _is_in_bad_fork(self):
        return False

    def device_count(self):
        return 1

    def current_device(self):
        return 0

    def manual_seed_all(self, seed):
        """Do nothing: all numbers are drawn by the processor's generator."""

    def get_amp_supported_dtype(self):
        return [torch.float16, torch.bfloat16]


if not hasattr(torch, NAME):  # pytest imports this file once more, to look for doctests
    _setup_privateuseone_for_python_backend(NAME, backend_module=Backend())


class Simulated(Tensor):
    """A tensor of the device."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, raw):
        form = (raw.shape, raw.stride(), raw.storage_offset())
        made = Tensor._make_wrapper_subclass(cls, *form, dtype=raw.dtype, device=torch.device(NAME, 0))
        made.raw = raw.detach()
        return made

    def numpy(self, **options):
        raise TypeError("a tensor of the simulated device is no array; copy it to the processor first")

    __array__ = numpy

    def tolist(self):
        return self.raw.tolist()

    def new_tensor(self, value, dtype=None):
        return Simulated(torch.tensor(value, dtype=dtype or self.dtype))

    def __deepcopy__(self, known):
        if id(self) not in known:
            made = Simulated(self.raw.clone()).requires_grad_(self.requires_grad)
            if isinstance(self, torch.nn.Parameter):
                made._is_param = True
            known[id(self)] = made
        return known[id(self)]

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        return computed(operation, args, kwargs or {})


class Device(TorchDispatchMode):
    """Has the device at hand, and moves modules to it in place."""

    def __enter__(self):
        self.before = torch.__future__.get_swap_module_params_on_conversion()
        torch.__future__.set_swap_module_params_on_conversion(True)
        return super().__enter__()

    def __exit__(self, *error):
        torch.__future__.set_swap_module_params_on_conversion(self.before)
        return super().__exit__(*error)

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if here(kwargs.get("device")) or any(issubclass(kind, Simulated) for kind in types):
            return computed(operation, args, kwargs)
        return operation(*args, **kwargs)


def here(device):
    return device is not None and torch.device(device).type == NAME


def computed(operation, args, kwargs):
    """Return what an operation gives, on the device that it belongs to.

    Raises:
        RuntimeError: tensors of two devices, where torch takes those of one.
    """
    name = operation._schema.name.split("::")[1]
    tensors = [each for each in tree_iter((args, kwargs)) if isinstance(each, Tensor)]
    own = [each for each in tensors if isinstance(each, Simulated)]
    strange = any(each.dim() > 0 for each in tensors if not isinstance(each, Simulated))
    if own and strange and (name not in MIXING or (name.lstrip("_").startswith("index") and args[0] is not own[0])):
        raise RuntimeError(f"tensors of two devices in {operation}")
    there = here(kwargs["device"]) if kwargs.get("device") is not None else bool(own)
    if "device" in kwargs:
        kwargs = kwargs | {"device": None if kwargs["device"] is None else torch.device("cpu")}
    if name == "_local_scalar_dense":
        return args[0].raw.item()
    raw = tree_map(bare, (args, kwargs))
    if name == "copy_":
        raw[0][0].copy_(raw[0][1])
        return args[0]
    given = {id(each.raw): each for each in own}

    def wrapped(value):
        if not there or not isinstance(value, Tensor):
            return value
        return given[id(value)] if id(value) in given else Simulated(value)

    return tree_map(wrapped, operation(*raw[0], **raw[1]))


def bare(value):
    return value.raw if isinstance(value, Simulated) else value
