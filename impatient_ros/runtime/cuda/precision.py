"""In how many bits a network is executed on a CUDA device, and whether its classes allow that."""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch

from impatient_ros.cache import CacheFile, cache_file

if TYPE_CHECKING:
    from impatient_ros.network import ImpatientNetwork

__all__ = ['CUDA_PRECISIONS', 'DTYPES', 'chosen_precision', 'half_precision_disagreement', 'native_to_cuda']

DTYPES = {'f32': torch.float32, 'f16': torch.float16, 'bf16': torch.bfloat16}
CUDA_PRECISIONS = ('auto', *DTYPES)
NATIVE_BFLOAT16 = (8, 0)  # compute capability: Ampere; older devices emulate it

# Share of pictures whose class may change in 16 bits before they are refused, per exit: 0.2 points.
ALLOWED_DISAGREEMENT = 0.002
PROBES, PROBE_BATCH = 1024, 64
KEPT = 64  # choices in the cache, one per model

_log = logging.getLogger(__name__)


def native_to_cuda(device: torch.device) -> tuple[str, ...]:
    """What a CUDA device computes natively, the first choice first.

    f16 has three more bits of fraction than bf16, but overflows beyond 65504.
    """
    bfloat16 = torch.cuda.get_device_capability(device) >= NATIVE_BFLOAT16
    return ('f16', 'bf16', 'f32') if bfloat16 else ('f16', 'f32')


def chosen_precision(
    network: ImpatientNetwork,
    device: torch.device,
    digest: str | None = None,
    accuracy_kept: Mapping[str, bool] = MappingProxyType({}),
) -> str:
    """The precision that 'auto' means for a network that is on its device.

    What was measured on labelled pictures decides; where nothing was, random pictures do.

    Args:
        accuracy_kept: whether the accuracy is kept, for each precision that labelled pictures were run in.
        digest: of the weights: what was found is then kept in the user's cache. On an H100 it took 16 of the
            33 s in which a node with 1,000 classes started.
    """
    native = native_to_cuda(device)
    if kept := [precision for precision in native if accuracy_kept.get(precision)]:
        return kept[0]
    candidates = [each for each in native if each != 'f32' and each not in accuracy_kept]
    file = CacheFile(None, KEPT)
    if digest is not None:
        key = {'model': digest, 'torch': torch.__version__, 'gpu': torch.cuda.get_device_name(device)}
        file = cache_file('precision', key, suffix='.json', keep=KEPT)
    known = file.read(lambda content: str(json.loads(content)['precision']))
    if known == 'f32' or known in candidates:
        _log.info('%s is used, as was found before', known)
        return known
    chosen = _compared(network, device, candidates)
    file.write(json.dumps({'precision': chosen}).encode())
    return chosen


def _compared(network: ImpatientNetwork, device: torch.device, candidates: Iterable[str]) -> str:
    for precision in candidates:
        disagreement = half_precision_disagreement(network, device, DTYPES[precision])
        used = max(disagreement) <= ALLOWED_DISAGREEMENT
        worst = max(range(len(disagreement)), key=disagreement.__getitem__)
        _log.info(
            '%s is %s: exit %d changes the class of %.2f%% of the probes',
            precision, 'used' if used else 'refused', worst + 1, 100 * disagreement[worst],
        )  # fmt: skip
        if used:
            return precision
    return 'f32'


@torch.inference_mode()
def half_precision_disagreement(
    network: ImpatientNetwork, device: torch.device, dtype: torch.dtype = torch.float16
) -> list[float]:
    """Per exit, the share of random pictures (0..1) whose class differs between float32 and 16 bits, `dtype`.

    The network stays as it is. Random pictures lie closer to the borders between classes than a camera's, so
    this is the stricter test; scores that are not finite count as different.
    """
    twin = copy.deepcopy(network).to(dtype)
    random = torch.Generator(device='cpu').manual_seed(0)
    different = torch.zeros(len(network.stages))
    for _ in range(PROBES // PROBE_BATCH):
        # Blotches rather than noise: noise of single pixels looks the same to a network everywhere.
        coarse = torch.randn(PROBE_BATCH, 3, 8, 8, generator=random)
        x = torch.nn.functional.interpolate(coarse, size=tuple(network.input_shape[1:]), mode='bilinear')
        x = x.to(device=device, memory_format=torch.channels_last)
        for t, (full, half) in enumerate(zip(network(x), twin(x.to(dtype)), strict=True)):
            wrong = (full.argmax(1) != half.argmax(1)) | ~half.isfinite().all(1)
            different[t] += int(wrong.sum())
    return [float(count) / PROBES for count in different]
