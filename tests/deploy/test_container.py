"""The image and the compose file, built and started for real by podman, tried from outside."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.outside import columns_body, free_port, model_zip, post, request, wait_for

pytestmark = pytest.mark.prove
ROOT = Path(__file__).resolve().parents[2]
BASE = "docker.io/library/python:3.11-slim-bookworm"
HARDENED = ["--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges"]


def podman(*arguments: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
    return run("podman", *arguments, check=check, **environment)


def run(*command: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=900, check=False, cwd=ROOT, env={**os.environ, **environment}
    )
    assert not check or done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done


@pytest.fixture(scope="module")
def image() -> str:
    """The name of the image, built from the tree as it is."""
    if not shutil.which("podman"):
        pytest.skip("podman is not on PATH")
    if podman("image", "exists", BASE, check=False).returncode != 0:
        pytest.skip(f"the base image is not there: podman pull {BASE}")
    podman("build", "--quiet", "--format=docker", "--tag=localhost/limen", ".")
    return "localhost/limen"


@pytest.fixture(scope="module")
def upload(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return model_zip(tmp_path_factory.mktemp("model"))


@pytest.fixture
def container(image: str) -> Iterator[tuple[str, str]]:
    """Name and address of a container with the image's own command, as locked up as in the compose file."""
    name, port = f"limen-{uuid.uuid4().hex[:8]}", free_port()
    podman(
        "run",
        "--detach",
        f"--name={name}",
        *HARDENED,
        f"--volume={name}:/data",
        f"--publish=127.0.0.1:{port}:8000",
        image,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(f"{url}/health/live")
        yield name, url
    finally:
        podman("rm", "--force", "--volumes", "--time=5", name, check=False)
        podman("volume", "rm", "--force", name, check=False)


def put_in(url: str, upload: bytes) -> None:
    status, answer = request(f"{url}/v1/models", upload, "application/zip")
    assert status in (200, 201), answer


def remembered(url: str) -> dict[str, Any]:
    """What the service knows of a machine, but for what changes with the clock."""
    status, answer = request(f"{url}/v1/equipment/pump-1")
    assert status == 200, answer
    changing = ("silent", "alarm")
    return {name: value for name, value in json.loads(answer).items() if name not in changing}


def test_the_image_is_slim_and_runs_as_nobody_in_particular(image: str) -> None:
    probe = (
        "import importlib.util as u, os; print(os.getuid(), [n for n in ('torch', 'pip', 'pytest') if u.find_spec(n)])"
    )
    assert podman("run", "--rm", image, "python", "-c", probe).stdout.strip() == "10001 []"
    assert podman("run", "--rm", image, "limen", "--help").returncode == 0
    config = json.loads(podman("image", "inspect", image).stdout)[0]
    assert config["Config"]["User"] == "10001:10001"
    assert config["Healthcheck"]["Test"][0] == "CMD"


def test_a_reading_posted_from_outside_is_scored(container: tuple[str, str], upload: bytes) -> None:
    _, url = container
    put_in(url, upload)
    answer = post(f"{url}/v1/readings", columns_body("pump-1", 0, 300))
    assert answer["received"] == 300
    assert answer["scored"] > 200
    assert answer["scored"] + answer["warming"] == 300


def test_the_container_is_healthy_and_can_change_nothing_but_its_volume(container: tuple[str, str]) -> None:
    name, _ = container
    assert podman("healthcheck", "run", name).returncode == 0
    assert podman("exec", name, "id", "-u").stdout.strip() == "10001"
    for place in ("/opt/limen/here", "/etc/here", "/here"):
        assert podman("exec", name, "touch", place, check=False).returncode != 0
    assert podman("exec", name, "touch", "/data/here").returncode == 0


def test_sigterm_ends_it_with_status_0_and_a_start_goes_on_where_it_was(
    container: tuple[str, str], upload: bytes
) -> None:
    name, url = container
    put_in(url, upload)
    post(f"{url}/v1/readings", columns_body("pump-1", 0, 300))
    before = remembered(url)
    assert before["model"] == "pumps"
    assert before["score"] is not None
    podman("stop", "--time=45", name)
    assert podman("inspect", "--format={{.State.ExitCode}}", name).stdout.strip() == "0"
    podman("start", name)
    wait_for(f"{url}/health/ready")
    assert remembered(url) == before


def test_sigterm_during_the_start_ends_it_with_status_0(image: str) -> None:
    name = f"limen-{uuid.uuid4().hex[:8]}"
    slow = "import time; from service import serve; serve.locked = lambda folder: time.sleep(60)"
    program = f"{slow}; from service.settings import load; print('here', flush=True); serve.serve(load())"
    podman("run", "--detach", f"--name={name}", *HARDENED, image, "python", "-c", program)
    try:
        until = time.monotonic() + 30
        while "here" not in podman("logs", name).stdout and time.monotonic() < until:
            time.sleep(0.1)
        time.sleep(0.5)
        podman("stop", "--time=20", name)
        assert podman("inspect", "--format={{.State.ExitCode}}", name).stdout.strip() == "0"
    finally:
        podman("rm", "--force", "--volumes", "--time=5", name, check=False)


@pytest.mark.parametrize("wrong", [".", "models", "snapshots"])
def test_a_mounted_folder_of_somebody_else_is_named_without_a_traceback(image: str, tmp_path: Path, wrong: str) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can give folders away")
    tmp_path.chmod(0o755)
    data = tmp_path / "data"
    for folder in (data, data / "models", data / "snapshots"):
        folder.mkdir(mode=0o755)
        os.chown(folder, 10001, 10001)
    os.chown(data / wrong, 0, 0)
    done = podman("run", "--rm", *HARDENED, f"--volume={data}:/data", image, check=False)
    assert done.returncode == 1
    (said,) = (line for line in done.stderr.splitlines() if line.startswith("limen: error"))
    assert f"data folder /data cannot be used ({Path('/data') / wrong}: Permission denied)" in said
    assert "writable for user id 10001" in said
    assert "Traceback" not in done.stderr


def test_a_mounted_folder_that_belongs_to_the_user_of_the_image_is_used(
    image: str, upload: bytes, tmp_path: Path
) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can give folders away")
    name, port = f"limen-{uuid.uuid4().hex[:8]}", free_port()
    os.chown(tmp_path, 10001, 10001)
    where = [f"--volume={tmp_path}:/data", f"--publish=127.0.0.1:{port}:8000"]
    podman("run", "--detach", f"--name={name}", *HARDENED, *where, image)
    try:
        wait_for(f"http://127.0.0.1:{port}/health/live")
        put_in(f"http://127.0.0.1:{port}", upload)
        podman("stop", "--time=45", name)
        assert podman("inspect", "--format={{.State.ExitCode}}", name).stdout.strip() == "0"
        assert list((tmp_path / "snapshots").glob("snapshot-*.safetensors"))
    finally:
        podman("rm", "--force", "--volumes", "--time=5", name, check=False)


def test_a_name_that_is_not_allowed_is_refused(container: tuple[str, str]) -> None:
    name, _ = container
    probe = (
        "import urllib.request as r, urllib.error as e\n"
        "try: r.urlopen(r.Request('http://127.0.0.1:8000/v1/equipment', headers={'Host': 'elsewhere.example'}))\n"
        "except e.HTTPError as refusal: print(refusal.code)"
    )
    assert podman("exec", name, "python", "-c", probe).stdout.strip() == "400"


def test_compose_starts_the_service_and_a_reading_is_scored(image: str, upload: bytes) -> None:
    command = shutil.which("podman-compose") or str(Path(sys.executable).with_name("podman-compose"))
    if not Path(command).is_file():
        pytest.skip("podman-compose is not installed (pip install podman-compose)")
    port, project = free_port(), f"limen{uuid.uuid4().hex[:8]}"
    environment = {"LIMEN_PUBLISHED_PORT": str(port)}
    try:
        run(command, "-p", project, "up", "--detach", "limen", **environment)
        url = f"http://127.0.0.1:{port}"
        wait_for(f"{url}/health/live")
        put_in(url, upload)
        assert post(f"{url}/v1/readings", columns_body("pump-1", 0, 300))["scored"] > 200
    finally:
        run(command, "-p", project, "down", "--volumes", "--timeout=45", check=False, **environment)
