import shutil
import subprocess
from dataclasses import replace

import pytest

from wattbench.measure.energy.attribution import integrate
from wattbench.measure.energy.totals import total_energy
from wattbench.measure.protocol.journal import dumps
from wattbench.records import PowerSample, Trace


@pytest.fixture
def sampled_run(make_run):
    """A function that makes a run whose energies follow from its power samples."""

    def make(run_id="a1", power_w=200.0, **changes):
        run = make_run(run_id, **changes)
        samples = tuple(PowerSample(t / 10, power_w) for t in range(-1, 140))
        phases = []
        for phase in run.phases:
            end_s = phase.start_s + phase.duration_s
            joules = integrate(samples, phase.start_s, end_s)
            energy = replace(phase.energy, energy_j=joules, integrated_j=joules)
            phases.append(replace(phase, energy=replace(energy, method="integrated")))
        energy, _ = total_energy(phases)
        return replace(
            run, phases=tuple(phases), energy=energy, wall_time_s=13.5, trace=Trace(power=samples)
        )

    return make


@pytest.fixture
def results(tmp_path):
    """A function that writes runs as a folder of results."""

    def write(name, *runs):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        text = "".join(f"{dumps(run)}\n" for run in runs)
        (folder / "runs.jsonl").write_text(text, "utf-8")
        return folder

    return write


@pytest.fixture
def key(tmp_path):
    """A private key of OpenSSH, without a password."""
    if shutil.which("ssh-keygen") is None:
        pytest.skip("signatures need ssh-keygen")
    path = tmp_path / "key"
    make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "moth@nowhere", "-f", str(path)]
    subprocess.run(make, check=True)
    return path
