"""Make `.venv` and install everything into it; nothing but the standard library is needed.

Packages are installed by version and hash from `locks/`. The native engine is built from source
once (five to ten minutes on two cores) and its wheel kept in the user's cache folder, so that the
next checkout installs in seconds. Running again when nothing has changed takes no time.
"""

import contextlib
import ctypes.util
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
LOCKED_BUILD_TOOLS = ROOT / "locks" / "build.lock"
LOCKED_PACKAGES = ROOT / "locks" / "dev.lock"
WATCHED = (LOCKED_BUILD_TOOLS, LOCKED_PACKAGES, ROOT / "pyproject.toml")
STAMP = VENV / "installed"
ENGINE = "llama-cpp-python"
# Not for the building processor alone: the wheel in the cache may outlive the machine's processor.
# The vision library of llama.cpp takes a third of the time and is used by nobody here.
ENGINE_FLAGS = "-DGGML_NATIVE=OFF -DLLAVA_BUILD=OFF"
# The build itself takes 1.2 GB, the environment 1.1 GB.
NEEDED_DISK_BYTES = 4_000_000_000
NEEDED_MEMORY_BYTES = 1_500_000_000


# What the window is drawn with. A machine that has them in other packages has them all the same.
DISPLAY_LIBRARIES = {
    "glib-2.0": "libglib2.0-0",
    "EGL": "libegl1",
    "xkbcommon": "libxkbcommon0",
    "fontconfig": "libfontconfig1",
    "dbus-1": "libdbus-1-3",
    "GL": "libgl1",
}
# What tests show it on, and have beside it: a display, a window manager, a message bus.
DESKTOP_LIBRARIES = {
    "X11-xcb": "libx11-xcb1",
    "xcb-cursor": "libxcb-cursor0",
    "xcb-icccm": "libxcb-icccm4",
    "xcb-image": "libxcb-image0",
    "xcb-keysyms": "libxcb-keysyms1",
    "xcb-randr": "libxcb-randr0",
    "xcb-render-util": "libxcb-render-util0",
    "xcb-shape": "libxcb-shape0",
    "xcb-sync": "libxcb-sync1",
    "xcb-xfixes": "libxcb-xfixes0",
    "xcb-xkb": "libxcb-xkb1",
    "xkbcommon-x11": "libxkbcommon-x11-0",
}
DESKTOP_PROGRAMS = {"Xvfb": "xvfb", "openbox": "openbox", "dbus-daemon": "dbus-daemon"}


def main() -> None:
    """Install what is missing; with `--display-libraries`, what the window is drawn with."""
    if "--display-libraries" in sys.argv[1:]:
        install_display_libraries()
        return
    wanted = _fingerprint()
    if STAMP.is_file() and STAMP.read_text() == wanted:
        return
    _check_machine()
    started = time.monotonic()
    packages = _requirements(LOCKED_PACKAGES)
    engine = next(package for package in packages if package.startswith(f"{ENGINE}=="))
    packages.remove(engine)
    if not PYTHON.exists():
        _say("making the environment .venv")
        venv.create(VENV, with_pip=True)
    _say("installing packages by hash")
    _pip_install(_requirements(LOCKED_BUILD_TOOLS))
    _pip_install(packages)
    wheel = _engine_wheel(engine)
    _run("installing the native engine", [*_pip(), "install", "--no-deps", "--quiet", str(wheel)])
    _run(
        "installing PeerLLM",
        [*_pip(), "install", "--no-deps", "--no-build-isolation", "--quiet", "--editable", "."],
    )
    STAMP.write_text(wanted)
    _say(f"installed in {time.monotonic() - started:.0f} s")


def _fingerprint() -> str:
    content = b"".join(path.read_bytes() for path in WATCHED)
    return hashlib.sha256(content + ENGINE_FLAGS.encode() + sys.version.encode()).hexdigest()


def _check_machine() -> None:
    if sys.version_info < (3, 11):  # noqa: UP036 - this file runs before anything checked it
        _fail(f"Python 3.11 or newer is needed, this is {platform.python_version()}")
    if os.name == "nt":
        return
    for compilers in (("cc", "gcc", "clang"), ("c++", "g++", "clang++")):
        if not any(shutil.which(name) for name in compilers):
            _fail(f"no compiler: none of {', '.join(compilers)} is installed; install gcc and g++")
    if not _has_header("gmp.h"):
        _install_system_package("libgmp-dev", "gmp.h")
    free = shutil.disk_usage(ROOT).free
    if free < NEEDED_DISK_BYTES:
        _fail(
            f"{free // 1_000_000} MB of disk are free, {NEEDED_DISK_BYTES // 1_000_000} are needed"
        )
    memory = _available_memory()
    if memory is not None and memory < NEEDED_MEMORY_BYTES:
        _fail(
            f"{memory // 1_000_000} MB of memory are free, building the engine takes "
            f"{NEEDED_MEMORY_BYTES // 1_000_000}"
        )


def _has_header(name: str) -> bool:
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))))
    check = subprocess.run(  # noqa: S603 - a compiler found on the path
        [compiler, "-E", "-x", "c", "-"],
        input=f"#include <{name}>\n".encode(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return check.returncode == 0


def install_display_libraries() -> None:
    """Best effort: without them the window is not tested, and nothing else is the matter."""
    if sys.platform != "linux":
        return
    needed = _missing_libraries(DISPLAY_LIBRARIES)
    wanted = _missing_libraries(DESKTOP_LIBRARIES)
    wanted += [package for name, package in DESKTOP_PROGRAMS.items() if shutil.which(name) is None]
    if not needed and not wanted:
        return
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        _say(f"the window cannot be tested in full: install {' '.join(needed + wanted)}")
        return
    if not _succeeds("fetching the list of system packages", [apt, "update", "-qq"]):
        return
    install = [apt, "install", "-y", "-qq", "--no-install-recommends"]
    # Apart: a system without one of the latter can still have the former.
    for packages in filter(None, (needed, wanted)):
        _succeeds(f"installing {' '.join(packages)}", [*install, *packages])


def _missing_libraries(libraries: dict[str, str]) -> list[str]:
    return [
        package for name, package in libraries.items() if ctypes.util.find_library(name) is None
    ]


def _succeeds(what: str, command: list[str]) -> bool:
    done = subprocess.run(  # noqa: S603 - the system's package tool
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False, text=True
    )
    if done.returncode:
        _say(f"the window cannot be tested in full: {what} failed: {done.stderr[-500:]}")
    return not done.returncode


def _install_system_package(package: str, header: str) -> None:
    """libp2p's curve library has no wheels and is built against GMP."""
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        _fail(f"the header {header} is missing; install the package {package} (GMP, development)")
    _run(f"fetching the list of system packages for {package}", [apt, "update", "-qq"])
    _run(f"installing {package}", [apt, "install", "-y", "-qq", package])


def _available_memory() -> int | None:
    with contextlib.suppress(OSError):
        found = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
        return int(found.group(1)) * 1024 if found else None
    return None


def _requirements(lock: Path) -> list[str]:
    """A lock's requirements, each with its markers and hashes."""
    lines = [line for line in lock.read_text().splitlines() if not line.lstrip().startswith("#")]
    return re.split(r"\n(?=[A-Za-z0-9])", "\n".join(lines).strip())


def _pip() -> list[str]:
    return [str(PYTHON), "-m", "pip", "--disable-pip-version-check"]


def _pip_install(requirements: list[str]) -> None:
    """Install by hash; what has no wheel is built with the locked build tools, nothing else."""
    options = ["--no-deps", "--require-hashes", "--no-build-isolation", "--quiet"]
    with _requirements_file("\n".join(requirements)) as file:
        _run("installing packages by hash", [*_pip(), "install", *options, "-r", str(file)])


@contextlib.contextmanager
def _requirements_file(requirements: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="peerllm-install-") as folder:
        file = Path(folder) / "requirements.txt"
        file.write_text(requirements)
        yield file


def _engine_wheel(requirement: str) -> Path:
    """The engine's wheel from the cache, built into it first when it is not there."""
    key = hashlib.sha256(
        "\n".join([requirement, ENGINE_FLAGS, sysconfig.get_platform(), sys.version]).encode()
    ).hexdigest()[:16]
    folder = _cache() / "engine" / key
    built = sorted(folder.glob("*.whl"))
    if built:
        return built[0]
    folder.mkdir(parents=True, exist_ok=True)
    with _requirements_file(requirement) as file, tempfile.TemporaryDirectory(dir=folder) as fresh:
        _build_engine(file, Path(fresh))
        wheel = next(Path(fresh).glob("*.whl"))
        return wheel.replace(folder / wheel.name)


def _build_engine(requirements: Path, folder: Path) -> None:
    environment = os.environ | {
        "CMAKE_ARGS": " ".join(filter(None, (ENGINE_FLAGS, os.environ.get("CMAKE_ARGS")))),
        "PATH": f"{PYTHON.parent}{os.pathsep}{os.environ.get('PATH', '')}",
    }
    command = [*_pip(), "wheel", "--no-deps", "--no-build-isolation", "--require-hashes"]
    command += ["--verbose", "--wheel-dir", str(folder), "-r", str(requirements)]
    _say("building the native engine, once for this machine: five to ten minutes on two cores")
    started = time.monotonic()
    log: list[str] = []
    shown = 0.0
    with subprocess.Popen(  # noqa: S603 - our own pip
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as build:
        for line in build.stdout or ():
            log.append(line)
            step = re.search(r"\[(\d+)/(\d+)\]", line)
            elapsed = time.monotonic() - started
            # Every few seconds: enough to see that it goes on, few enough for a log file.
            if step and elapsed - shown >= 10:
                shown = elapsed
                _say(f"  step {step[1]} of {step[2]}, {elapsed:.0f} s")
    if build.returncode:
        sys.stderr.write("".join(log[-25:]))
        _fail("the native engine could not be built; the compiler's last words are above")
    _say(f"native engine built in {time.monotonic() - started:.0f} s")


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "peerllm"


def _run(what: str, command: list[str]) -> None:
    done = subprocess.run(  # noqa: S603 - our own pip or the system's package tool
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, text=True
    )
    if done.returncode:
        sys.stderr.write(done.stdout[-4000:])
        _fail(f"{what} failed; the reason is above")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _fail(message: str) -> NoReturn:
    sys.stderr.write(f"peerllm: {message}\n")
    sys.exit(1)


if __name__ == "__main__":
    main()
