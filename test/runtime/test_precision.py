import pytest

from impatient_ros.runtime import RuntimeUnavailableError
from impatient_ros.runtime.openvino import capabilities
from impatient_ros.runtime.precision import COMPUTED, TOLERANCES, native_to_openvino

NAMED = ['FP32', 'BF16', 'FP16', 'INT8', 'EXPORT_IMPORT']


@pytest.mark.parametrize(
    ('named', 'flags', 'expected'),
    [
        (['FP32', 'INT8', 'BIN'], {'avx2'}, ('f32', 'int8')),
        (NAMED, {'avx512f'}, ('f32', 'f16', 'int8')),  # OpenVINO would emulate bf16 with AVX-512
        (NAMED, {'avx512f', 'avx512_bf16'}, ('f32', 'bf16', 'f16', 'int8')),
        (['BF16'], {'amx_bf16'}, ('f32', 'bf16')),
        (['BF16', 'FP16'], None, ('f32', 'bf16', 'f16')),  # no x86: it is believed
        ([], set(), ('f32',)),
    ],
)
def test_native_is_what_openvino_names_and_the_processor_multiplies(named, flags, expected):
    assert native_to_openvino(named, flags) == expected


def test_this_machine_says_what_it_computes():
    found = capabilities.native('cpu')
    assert found[0] == 'f32'
    assert set(found) <= set(COMPUTED) == set(TOLERANCES)


def test_a_device_that_is_missing_is_said_and_not_guessed(monkeypatch):
    class Core:
        available_devices = ('CPU',)

    monkeypatch.setattr(capabilities, 'openvino_core', Core)
    with pytest.raises(RuntimeUnavailableError, match="no integrated GPU of Intel's here, only CPU"):
        capabilities.native('igpu')
