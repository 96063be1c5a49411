"""Runs a function in two processes over the loopback, and gives what each of them found."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

COUNT = 2


def in_two_processes(work: Callable[..., Any], folder: Path, *given: Any) -> list[Any]:
    """What `work(rank, *given)` gives in each process of a group (gloo)."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(_run, (work, port, str(folder), given), nprocs=COUNT)
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(COUNT)]


def _run(rank: int, work: Callable[..., Any], port: int, folder: str, given: tuple[Any, ...]) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=COUNT)
    try:
        torch.save(work(rank, *given), Path(folder) / f"{rank}.pt")
        dist.barrier()
    finally:
        dist.destroy_process_group()
    # Python's own end now and then meets a thread of gloo or of autograd that still waits, and aborts
    # ("terminate called without an active exception"): what was asked for is written, so leave at once.
    os._exit(0)
