"""A real Slurm on this machine: munge, a controller and two nodes on loopback, all of it in one temporary folder.

As a script it starts the cluster, runs a command in it and stops it again:

    python tests/slurm/local_slurm.py ssl-zoo run experiments/smoke.yaml --executor slurm

It needs Debian's packages `slurm-wlm` and `munge`, and root, as Slurm's node daemon does.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue")
NODES = ("node1", "node2")
START_S = 60.0

CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,bf_interval=1
SlurmdParameters=config_overrides
SlurmdTimeout=5
KillWait=5
ReturnToService=2
NodeName=node1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 RealMemory=8000
NodeName=node2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 RealMemory=8000
PartitionName=test Nodes=node1,node2 Default=YES MaxTime=INFINITE State=UP
"""


def why_not() -> str:
    """What is missing for a cluster here; nothing where it can be started."""
    if missing := [name for name in PROGRAMS if _program(name) is None]:
        return f"no {', '.join(missing)} (apt-get install slurm-wlm munge)"
    return "" if os.geteuid() == 0 else "Slurm's node daemon needs root"


@dataclass
class Cluster:
    """The running daemons, and the environment in which Slurm's commands find them."""

    folder: Path
    environment: dict[str, str]
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def call(self, *command: str) -> str:
        """What a command of Slurm says."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60, check=False)
        return done.stdout + done.stderr

    def start(self, name: str, *command: str) -> None:
        with open(self.folder / f"{name}.out", "ab") as out:
            self.daemons[name] = subprocess.Popen(
                [str(_program(command[0])), *command[1:]],
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
                env=self.environment,
                start_new_session=True,
            )

    def start_node(self, name: str) -> None:
        self.start(name, "slurmd", "-D", "-N", name, "-f", str(self.folder / "slurm.conf"))

    def kill_node(self, name: str) -> None:
        """What a power cut does: the node's daemon and all that runs on the node are gone at once."""
        victims = self._processes_of(name)
        self._kill(name)
        for process in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def stop(self) -> None:
        for name in list(self.daemons):
            if name in NODES:
                self.kill_node(name)
        for name in list(self.daemons):
            self._kill(name)

    def _kill(self, name: str) -> None:
        daemon = self.daemons.pop(name)
        daemon.kill()
        daemon.wait()

    def _processes_of(self, node: str) -> list[int]:
        """Those that run in a job of this cluster on the node, and those that look after them."""
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError):
                environ = (entry / "environ").read_bytes().split(b"\0")
                words = (entry / "cmdline").read_bytes()
                on_node = f"SLURMD_NODENAME={node}".encode() in environ
                ours = f"SLURM_CONF={self.folder}/slurm.conf".encode() in environ
                if (on_node and ours) or (b"slurmstepd" in words and self._is_child(int(entry.name), node)):
                    found.append(int(entry.name))
        return found

    def _is_child(self, process: int, node: str) -> bool:
        """Whether a step daemon belongs to the node's daemon: it keeps the spool folder's socket or its name open."""
        spool = f"{self.folder}/spool-{node}"
        for link in Path(f"/proc/{process}/fd").iterdir():
            with contextlib.suppress(OSError):
                if os.readlink(link).startswith((spool, f"{self.folder}/slurmd-{node}")):
                    return True
        return False


@contextlib.contextmanager
def slurm() -> Iterator[Cluster]:
    """A cluster with two idle nodes, stopped and removed at the end. RuntimeError when it does not start."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))  # short: a socket's path has 107 letters at most
    cluster = Cluster(folder, {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")})
    for name in list(cluster.environment):
        if name.startswith(("SLURM_", "SBATCH_")) and name != "SLURM_CONF":
            del cluster.environment[name]
    try:
        _prepare(folder)
        cluster.start(
            "munged",
            "munged",
            "--foreground",
            "--force",
            *(f"--{key}-file={folder}/munge.{key}" for key in ("key", "pid", "log", "seed")),
            f"--socket={folder}/munge.socket",
        )
        _wait_for(lambda: (folder / "munge.socket").exists(), "munged", cluster)
        cluster.start("slurmctld", "slurmctld", "-D", "-f", str(folder / "slurm.conf"))
        for node in NODES:
            cluster.start_node(node)
        _wait_for(lambda: cluster.call("sinfo", "-h", "-N", "-o", "%T").split() == ["idle"] * 2, "slurmd", cluster)
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _prepare(folder: Path) -> None:
    (folder / "state").mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    folder.chmod(0o755)
    host, ports = socket.gethostname().partition(".")[0], _free_ports(3)
    (folder / "slurm.conf").write_text(CONFIGURATION.format(folder=folder, host=host, ports=ports))
    (folder / "cgroup.conf").write_text("CgroupAutomount=no\n")


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _wait_for(ready, what: str, cluster: Cluster) -> None:
    started = time.monotonic()
    while not ready():
        if time.monotonic() - started > START_S or any(d.poll() is not None for d in cluster.daemons.values()):
            logs = "\n".join(
                path.read_text(errors="replace")[-2000:]
                for path in sorted(cluster.folder.iterdir())
                if path.suffix in (".log", ".out")
            )
            raise RuntimeError(f"{what} does not start: {cluster.call('sinfo', '-N', '-l')}\n{logs}")
        time.sleep(0.2)


if __name__ == "__main__":
    if why_not():
        sys.exit(f"no Slurm here: {why_not()}")
    with slurm() as running:
        sys.exit(subprocess.run(sys.argv[1:], env=running.environment, check=False).returncode)
