"""Two processes on halves of a batch learn what one learns on the whole batch."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).resolve().parent


@pytest.mark.usefixtures('one_thread')
def test_two_processes_have_the_risk_and_the_gradients_of_the_joint_batch(
    shapes: Path, tmp_path: Path
) -> None:
    script = HERE / 'joint_batch.py'
    out = tmp_path / 'seen.pt'
    run = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', '2']
    environ = os.environ | {'PYTHONPATH': str(HERE.parents[1]), 'OMP_NUM_THREADS': '1'}
    done = subprocess.run(
        [*run, str(script), str(shapes), str(out)], env=environ, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    spec = importlib.util.spec_from_file_location('joint_batch', script)
    assert spec is not None
    assert spec.loader is not None
    probe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(probe)
    alone, both = probe.step(str(shapes), 1), torch.load(out, weights_only=True)
    torch.testing.assert_close(both['risk'], alone['risk'])
    assert alone['gradients'].keys() == both['gradients'].keys()
    for name, gradient in alone['gradients'].items():
        torch.testing.assert_close(both['gradients'][name], gradient, rtol=1e-4, atol=1e-6)
    assert both['validation'][0]['accuracy'] == pytest.approx(alone['validation'][0]['accuracy'])
