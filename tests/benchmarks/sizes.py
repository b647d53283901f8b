"""`python sizes.py`: what each installed package takes on this disk, compiled files included, largest first."""

from __future__ import annotations

from importlib.metadata import Distribution, distributions
from pathlib import Path


def megabytes(package: Distribution) -> float:
    """Sum up a package's files, in MB of 10^6 bytes."""
    paths = (Path(str(package.locate_file(file))) for file in package.files or ())
    return sum(path.stat().st_size for path in paths if path.is_file()) / 1e6


if __name__ == "__main__":
    sizes = sorted(((megabytes(package), package) for package in distributions()), key=lambda pair: -pair[0])
    for size, package in sizes:
        print(f"{size:6.1f} MB  {package.name} {package.version}")
    print(f"{sum(size for size, _ in sizes):6.1f} MB  in all")
