"""Where PyTorch computes: threads that compute alone, memory that is kept."""

import ctypes
import threading
import time

import torch

from wildsr import devices


def test_workers_compute_alone_and_leave_the_caller_its_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with devices.workers(2) as pool:

            def look(_: int) -> tuple[int, int]:
                time.sleep(0.02)
                return torch.get_num_threads(), threading.get_ident()

            seen = list(pool.map(look, range(6)))
            assert torch.get_num_threads() == 3
        assert {threads for threads, _ in seen} == {1}
        assert len({thread for _, thread in seen}) == 2
        assert threading.get_ident() not in {thread for _, thread in seen}
    finally:
        torch.set_num_threads(before)


def test_memory_is_kept_where_the_c_library_can(monkeypatch):
    calls = []

    class Glibc:
        def mallopt(self, what: int, value: int) -> int:
            calls.append((what, value))
            return 1

    monkeypatch.setattr(ctypes, "CDLL", lambda name: Glibc())
    monkeypatch.setattr(devices.sys, "platform", "linux")
    devices.keep_memory()
    assert calls == [(-4, 0), (-1, -1)]  # no more mapping of single blocks, no trimming
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    devices.keep_memory()
    monkeypatch.setattr(devices.sys, "platform", "win32")
    monkeypatch.setattr(ctypes, "CDLL", None)
    devices.keep_memory()
    assert len(calls) == 2
