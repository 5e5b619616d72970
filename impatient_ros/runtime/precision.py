"""In how many bits a network is computed: what the parameter `precision` may say, and what this processor
computes by itself.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ['COMPUTED', 'PRECISIONS', 'TOLERANCES', 'native_to_openvino']

COMPUTED = ('f32', 'bf16', 'f16', 'int8')
PRECISIONS = ('auto', *COMPUTED)  # what the parameter may say

# How far the scores of one exit may differ between the ways to it, relative to the largest. In single
# precision fusing and blocking in another order rounds differently (1e-6 and less was seen). With fewer bits
# what lies near the border of two numbers falls to either side of it, and later layers pass that on: allowed
# for are a few roundings of 16 bits (2^-8, 2^-11), not measured. In int8 the ways agreed exactly on AVX2 (a
# ShuffleNet of five exits, both runtimes); a processor that fuses otherwise may be a step off.
TOLERANCES = {'f32': 1e-4, 'bf16': 5e-2, 'f16': 1e-2, 'int8': 5e-2}

_OPENVINO = {'f32': 'FP32', 'bf16': 'BF16', 'f16': 'FP16', 'int8': 'INT8'}
# What multiplies bfloat16 on x86, as /proc/cpuinfo names it: with AVX-512 alone libraries emulate it.
_BFLOAT16_FLAGS = {'avx512_bf16', 'amx_bf16', 'avx_ne_convert'}


def native_to_openvino(capabilities: Iterable[str], flags: Iterable[str] | None) -> tuple[str, ...]:
    """What a device computes natively, of OpenVINO's OPTIMIZATION_CAPABILITIES.

    Args:
        capabilities: as OpenVINO names them; single precision goes without saying.
        flags: of an x86 processor; None: it is something else, and OpenVINO is believed.
    """
    named = {*capabilities, 'FP32'}
    if flags is not None and _BFLOAT16_FLAGS.isdisjoint(flags):
        named.discard('BF16')
    return tuple(precision for precision in COMPUTED if _OPENVINO[precision] in named)
