"""Processes that train together without torchrun: forked from one that has loaded torch, told what torchrun tells."""

import os
import pickle
import signal
import socket
import sys
import time
import traceback
import warnings

import torch

from bpsta_cli.distributed import meeting

CPU = torch.device("cpu")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def environment(rank, world, port, restarts=0):
    return {
        "RANK": str(rank),
        "WORLD_SIZE": str(world),
        "LOCAL_RANK": str(rank),
        "LOCAL_WORLD_SIZE": str(world),
        "GROUP_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_RESTART_COUNT": str(restarts),
    }


def start(world, work, log, *, restarts=0, **more):
    """Fork `world` processes that end with the exit code that `work(rank)` returns; their numbers."""
    port, children = free_port(), []
    sys.stdout.flush(), sys.stderr.flush()
    for rank in range(world):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # from Python 3.12 on, where there are threads
            child = os.fork()
        if child == 0:
            os.environ.update(environment(rank, world, port, restarts) | more)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            opened = log.open("a")
            sys.stdout = sys.stderr = opened  # pytest has put files of its own there
            os.dup2(opened.fileno(), 1)
            os.dup2(opened.fileno(), 2)
            code = 70
            try:
                code = work(rank)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush(), sys.stderr.flush()
                os._exit(code)
        children.append(child)
    return children


def exit_codes(children, seconds=60.0):
    """The exit codes of all, in order; whoever is not over in time is killed, and the test fails."""
    codes, until = {}, time.monotonic() + seconds
    while len(codes) < len(children):
        for child in set(children) - set(codes):
            number, status = os.waitpid(child, os.WNOHANG)
            if number:
                codes[child] = os.waitstatus_to_exitcode(status)
        if time.monotonic() > until:
            for child in set(children) - set(codes):
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
            raise AssertionError(f"{len(children) - len(codes)} of {len(children)} processes did not end")
        time.sleep(0.005)
    return [codes[child] for child in children]


def together(world, work, folder, *, reduction="shares", compiled=True, **more):
    """What `work(ranks)` returns in each of `world` processes that have met, in order."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "log"

    def one(rank):
        with meeting.met(CPU, reduction, compiled=compiled) as ranks:
            result = work(ranks)
        (folder / f"result-{rank}").write_bytes(pickle.dumps(result))
        return 0

    codes = exit_codes(start(world, one, log, **more))
    assert codes == [0] * world, log.read_text()
    return [pickle.loads((folder / f"result-{rank}").read_bytes()) for rank in range(world)]
