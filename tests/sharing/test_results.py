"""What lies in results/ is sound: bundles, and nothing else."""

from pathlib import Path

from wattbench.sharing.bundle import read_bundle
from wattbench.sharing.verify import verify

RESULTS = Path(__file__).parents[2] / "results"


def test_every_bundle_of_the_project_is_verified():
    files = [path for path in RESULTS.rglob("*") if path.is_file() and path.name != "README.md"]
    assert {path.suffix for path in files} <= {".zip"}
    assert {path.name: verify(read_bundle(path).runs).faults for path in files} == {
        path.name: () for path in files
    }
