"""Where clients are installed once: $COMPAT_CACHE, by default ~/.cache/dohle-compat."""
import fcntl
import hashlib
import os
import pathlib
import shutil
import sys
import time

from .process import must

ROOT = pathlib.Path(os.environ.get("COMPAT_CACHE") or "~/.cache/dohle-compat").expanduser()


def once(name, key, make):
    """The folder NAME-HASH(key) of the cache, filled by make(folder) the first time."""
    folder = ROOT / f"{name}-{hashlib.sha256(repr(key).encode()).hexdigest()[:10]}"
    ROOT.mkdir(parents=True, exist_ok=True)
    with open(f"{folder}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / ".ready").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            start = time.monotonic()
            make(folder)
            (folder / ".ready").touch()
            print(f"installed {folder.name} in {time.monotonic() - start:.0f} s", flush=True)
    return folder


def python_packages(name, *pins, source=None):
    """A virtual environment with the pinned packages; its folder (the interpreter is venv/bin/python)."""
    def make(folder):
        must([sys.executable, "-m", "venv", folder / "venv"])
        built = [source(folder)] if source else []
        must([folder / "venv/bin/pip", "-q", "--disable-pip-version-check", "install", *built, *pins])
    return once(name, pins, make)


def source_package(folder, package, version):
    """The unpacked source package from PyPI, in folder/src."""
    must([sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", "download", "--no-binary", package,
          "--no-deps", "-d", folder, f"{package}=={version}"])
    archive, = folder.glob("*.tar.gz")
    shutil.unpack_archive(archive, folder / "unpacked")
    unpacked, = (folder / "unpacked").iterdir()
    return unpacked.rename(folder / "src")


def debian_program(program, package):
    """The path of a program that Debian packages; installed where it is missing (needs root)."""
    if not shutil.which(program):
        must(["apt-get", "update", "-q"])
        must(["apt-get", "install", "-q", "-y", "--no-install-recommends", package],
             env={"DEBIAN_FRONTEND": "noninteractive"})
    return shutil.which(program)


def edit(path, *pairs):
    """Replaces each old text by the new one; an old one that is not there is an error."""
    text = path.read_text()
    for old, new in pairs:
        assert old in text, f"{path}: the text to adapt is not there: {old[:60]!r}"
        text = text.replace(old, new)
    path.write_text(text)
