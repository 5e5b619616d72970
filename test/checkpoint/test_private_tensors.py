"""What a resolution has for itself, in a file: every path answers as the network in torch."""

import numpy as np
import onnxruntime
import pytest
import torch
from checkpoint_files import LABELS, SIZE, randomised, rewrite, shared_network, write

from impatient_ros.checkpoint import CheckpointError, Preprocessing, load, read, save
from impatient_ros.checkpoint.graph import logits
from impatient_ros.network import ImpatientNetwork
from impatient_ros.runtime import Source, select_runtime


def image(side):
    return torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(side))


def run(model, x):
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, {session.get_inputs()[0].name: x})


def close(found, wanted):
    wanted = wanted.numpy()
    assert np.ptp(wanted) > 1e-3  # an answer, not a constant
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-4 * np.abs(wanted).max())


@torch.no_grad()
def test_what_a_resolution_has_for_itself_is_stored_and_computed_with(tmp_path):
    torch.manual_seed(0)
    made = ImpatientNetwork.from_torchvision(
        'mobilenet_v3_small', exits=2, classes=len(LABELS), image_size=64
    )
    network = randomised(made, 64).eval()
    network.make_private([32, 48], ['affine', 'depthwise'])
    for side in ('32', '48'):
        for tensor in network.private[side].parameters():
            tensor.mul_(1 + 0.2 * torch.rand(tensor.shape))
    save(
        network,
        tmp_path / 'm.safetensors',
        labels=LABELS,
        preprocessing=Preprocessing.for_image_size(64),
        resolutions=[32, 48, 64],
    )
    checkpoint = load(tmp_path / 'm.safetensors')
    for resolution in checkpoint.resolutions:
        x = image(resolution.side)
        wanted = network.at(resolution.side)(x)
        found = run(resolution.graph.part(0, [logits(0), logits(1)]), x.numpy())
        for ours, graph, theirs in zip(checkpoint.network.at(resolution.side)(x), found, wanted, strict=True):
            close(ours.numpy(), theirs)
            close(graph, theirs)
    graphs = tuple(resolution.graph for resolution in checkpoint.resolutions)
    runtime = select_runtime(Source(graphs), 'openvino', 'cpu', threads=1)
    for resolution in checkpoint.resolutions:
        for t, theirs in enumerate(network.at(resolution.side)(image(resolution.side))):
            execution = runtime.start(image(resolution.side).numpy())
            while execution.position <= t:
                execution.stage(t)
            close(execution.exit(), theirs[0])


@torch.no_grad()
def test_a_layer_in_several_stages_has_what_is_its_own_at_a_resolution_in_all_of_them(tmp_path):
    network = randomised(shared_network(), SIZE)
    network.make_private([SIZE - 8], ['affine'])
    for tensor in network.private[str(SIZE - 8)].parameters():
        tensor.mul_(1 + torch.rand(tensor.shape)).add_(0.3)
    write(network, tmp_path / 'm.safetensors', resolutions=[SIZE - 8, SIZE])
    for resolution in read(tmp_path / 'm.safetensors').resolutions:
        x = image(resolution.side)
        found = run(resolution.graph.part(0, [logits(t) for t in range(3)]), x.numpy())
        for ours, theirs in zip(found, network.at(resolution.side)(x), strict=True):
            close(ours, theirs)


@pytest.mark.parametrize(
    'private', [3, {'sides': ['32'], 'kinds': []}, {'sides': [32]}, {'kinds': ['affine']}]
)
def test_private_tensors_that_make_no_sense_are_refused(tmp_path, private):
    write(shared_network(), tmp_path / 'm.safetensors')

    def damage(description, metadata, tensors):
        description['network']['private'] = private

    with pytest.raises(CheckpointError, match='network: private is '):
        read(rewrite(tmp_path / 'm.safetensors', tmp_path / 'damaged.safetensors', damage))
