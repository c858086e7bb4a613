"""A Ray cluster of the tests' own on this machine: a head node and further nodes, each of one CPU,
with a token.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any, Self

import psutil

from tests.support.browser import REPOSITORY, free_port

DOCUMENT = (REPOSITORY / "docs" / "clusters.md").read_text()
# The nodes are started by the documented lines, with what keeps two of them on one machine apart.
HEAD_LINE, NODE_LINE = re.findall(r"^PATH=.* (?=ray start)ray start .*$", DOCUMENT, re.MULTILINE)


class RayCluster:
    """``environment`` is what a process needs to use the cluster.

    ``nodes`` are the processes that hold one up each.
    """

    VARIABLES = ("KD_ENGINE", "RAY_ADDRESS", "RAY_AUTH_MODE")

    def __init__(self) -> None:
        self._folder = Path(
            tempfile.mkdtemp(prefix="kdray-", dir="/tmp")
        )  # sockets need a short path
        self.token, token = secrets.token_hex(16), self._folder / "token"
        token.write_text(self.token)
        self.gcs, self.api = f"127.0.0.1:{free_port()}", f"http://127.0.0.1:{(port := free_port())}"
        self._dashboard_port = port
        self.environment = {
            **dict(zip(self.VARIABLES, ("ray", self.api, "token"), strict=True)),
            "RAY_AUTH_TOKEN_PATH": str(token),
        }
        self.nodes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        # A machine's folder that has the packages, and not the code: that has to come with the
        # jobs.
        (self._folder / ".venv").symlink_to(Path(sys.executable).parents[1])
        self._start_node(
            HEAD_LINE,
            f"--port={self.gcs.split(':')[1]}",
            f"--dashboard-port={self._dashboard_port}",
            f"--temp-dir={self._folder}",
            f"--ray-client-server-port={free_port()}",
        )
        self._wait_for_nodes(1)
        self._start_node(NODE_LINE.replace("HEAD:6379", self.gcs), '--resources={"second": 1}')
        self._wait_for_nodes(2)
        return self

    def add_node(self, *arguments: str) -> None:
        """Start one more node, and wait until the cluster counts it."""
        live = self.live_nodes()
        self._start_node(NODE_LINE.replace("HEAD:6379", self.gcs), *arguments)
        self._wait_for_nodes(live + 1)

    def _wait_for_nodes(self, number: int, seconds: float = 180) -> None:
        deadline = time.monotonic() + seconds
        while self.live_nodes() < number:
            if time.monotonic() > deadline or self.nodes[-1].poll() is not None:
                log = (self._folder / f"node-{len(self.nodes) - 1}.log").read_text()
                self.__exit__()
                raise RuntimeError(
                    f"node {number} of the Ray cluster did not start:\n{log[-3000:]}"
                )
            time.sleep(0.1)

    def __exit__(self, *_: object) -> None:
        for node in reversed(self.nodes):
            self.kill_node(node)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start_node(self, line: str, *arguments: str) -> None:
        """Start a node of one CPU with a documented line, as on a machine of its own."""
        options = [
            "--num-cpus=1",
            "--node-ip-address=127.0.0.1",
            "--object-store-memory=78643200",
            "--block",
            "--disable-usage-stats",
            f"--dashboard-agent-listen-port={free_port()}",
            *arguments,
        ]
        environment = {**os.environ, "RAY_AUTH_TOKEN_PATH": self.environment["RAY_AUTH_TOKEN_PATH"]}
        environment.pop(
            "CUDA_VISIBLE_DEVICES", None
        )  # Ray says which cards a worker may use, the tests do not
        with (self._folder / f"node-{len(self.nodes)}.log").open("wb") as log:
            self.nodes.append(
                subprocess.Popen(
                    ["bash", "-c", f"{line} {shlex.join(options)}"],
                    env=environment,
                    cwd=self._folder,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,
                )
            )

    def kill_node(self, node: subprocess.Popen[bytes]) -> None:
        """Lose a node: all its processes are killed at once, workers included."""
        try:
            lost = [psutil.Process(node.pid), *psutil.Process(node.pid).children(recursive=True)]
        except psutil.NoSuchProcess:
            lost = []
        for process in lost:
            try:
                process.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue
        node.wait(10)

    def jobs(self) -> list[dict[str, Any]]:
        """Return what the cluster says of the jobs that were submitted to it."""
        return self.ask("/api/jobs/", self.token)

    def live_nodes(self) -> int:
        """Return how many nodes the cluster knows and believes alive.

        0 while its head node starts.
        """
        try:
            found = self.ask(
                "/api/v0/nodes?filter_keys=state&filter_predicates=%3D&filter_values=ALIVE",
                self.token,
            )
        except OSError:
            return 0
        return int(found["data"]["result"]["total"])

    def ask(self, path: str, token: str) -> Any:
        """Return the answer of the head node's API.

        Raises HTTPError 401 or 403 for a wrong token.
        """
        question = urllib.request.Request(
            self.api + path, headers={"Authorization": f"Bearer {token}"}
        )
        with urllib.request.urlopen(question, timeout=30) as answer:
            return json.load(answer)
