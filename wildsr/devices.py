"""Where PyTorch computes, and in which numbers."""

import ctypes
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import torch

from wildsr.config import nearest
from wildsr.errors import UserError


def pick(name: str, number: int | None = None) -> torch.device:
    """auto (CUDA, else Apple's MPS, else the CPU), cpu, cuda or mps; of several GPUs the one of a `number`, for one process of several.

    Raises UserError when PyTorch has no such device here."""
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next(device for device in ("cuda", "mps", "cpu") if there[device])
    if name not in there:
        raise UserError(f"unknown device {name!r}: {nearest(name, ['auto', *there])}")
    if not there[name]:
        raise UserError(f"device {name!r} is not available here: there is {', '.join(device for device in there if there[device])}")
    if name == "cuda":
        # What is called float32 here is float32, not TF32, which PyTorch uses in convolutions unless told otherwise.
        torch.backends.cudnn.allow_tf32 = False
        if number is not None:
            there_are = torch.cuda.device_count()
            if number >= there_are:
                raise UserError(f"LOCAL_RANK={number}, but this machine has {there_are} GPUs: start as many processes here as it has GPUs")
            torch.cuda.set_device(number)
            return torch.device(name, number)
    return torch.device(name)


def computes_bf16(device: torch.device) -> bool:
    """Whether a device computes in bfloat16 rather than emulating it, which on a CPU is ten times slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()  # of newer PyTorch; an older one says nothing, and computes in float32
    return device.type == "cpu" and bool(capabilities.get("avx512_bf16"))


def workers(count: int) -> ThreadPoolExecutor:
    """Threads in each of which PyTorch computes alone: for many small pieces of work, each thread on its own, instead of all on each
    operation, where they would wait for one another after every one."""
    before, all_there = torch.get_num_threads(), threading.Barrier(count)

    def begin() -> None:
        # Asking first, for PyTorch sets up a thread when it is first asked, to the number that holds for all. What is set then holds for
        # this thread, but threads that begin later would take it over, so it is taken back below.
        torch.get_num_threads()
        torch.set_num_threads(1)
        all_there.wait()

    pool = ThreadPoolExecutor(count)
    try:
        for began in [pool.submit(begin) for _ in range(count)]:
            began.result()
    finally:
        torch.set_num_threads(before)
    return pool


_MALLOC_TRIM, _MALLOC_MMAPS = -1, -4  # of glibc's malloc.h


def keep_memory() -> None:
    """Lets the whole process keep what it frees for what it takes next, where the C library is glibc; elsewhere nothing happens.

    By default, large tensors are given back to the system and taken anew at every step, and the system clears them page by page."""
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        mallopt(_MALLOC_MMAPS, 0)
        mallopt(_MALLOC_TRIM, -1)
