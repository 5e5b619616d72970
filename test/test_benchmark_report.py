import json

import numpy as np
import pytest
from benchmark.report import changes, record
from benchmark.tables import MARKS, markdown, placed
from benchmark.targets import targets
from benchmark.turns import ratio, take_turns


def network_records():
    found = []
    for runtime, factor in (('eager', 4.0), ('openvino', 1.0)):
        found.append(record('resnet18', 'cpu', runtime, 'plain', [0.010 * factor]))
        for t in range(2):
            cost = 0.005 * (t + 1) * factor
            found += [
                record('resnet18', 'cpu', runtime, 'truncated', [cost], exit_index=t),
                record('resnet18', 'cpu', runtime, 'contract', [cost], exit_index=t, ratio=1.0 + t / 50),
                record('resnet18', 'cpu', runtime, 'interruptible', [cost], exit_index=t, ratio=1.1),
            ]
    return found


def test_a_record_is_flat_json_with_exits_as_people_count():
    found = record('resnet18', 'cpu', 'eager', 'contract', [0.001, 0.002, 0.003], exit_index=0, ratio=1.0)
    assert found['ms_p50'] == pytest.approx(2.0)
    assert found['ms_p99'] == pytest.approx(2.98)
    assert found['exit'] == 1
    required = {'model', 'device', 'runtime', 'what', 'exit', 'ms_p50', 'ms_p99', 'ratio'}
    assert required <= set(json.loads(json.dumps(found)))


def test_the_table_names_the_worst_contract_and_what_eager_would_take():
    row = markdown(network_records(), 'a machine').splitlines()[-1]
    assert row == '| resnet18 | cpu, openvino, f32 | 40.00 | 10.00 | 10.00 | 4.00 | 1.02 | 1.10 |'


def test_the_default_model_has_a_row_for_every_resolution_and_one_for_the_passes_in_turn():
    records = network_records()
    for px, plain, ours in ((96, 0.001, 0.0011), (224, 0.004, 0.004)):
        records += [
            record('default', 'cpu', 'openvino', 'path_plain', [plain], resolution=px),
            record('default', 'cpu', 'openvino', 'path', [ours], ratio=ours / plain, resolution=px),
        ]
    passes = record('default', 'cpu', 'openvino', 'passes', [0.0051], ratio=1.28, resolutions=[96, 224])
    rows = markdown([*records, passes], 'a machine').splitlines()[-3:]
    assert rows == [
        '| 96 | 1.00 | 1.10 | 1.10 |',
        '| 224 | 4.00 | 4.00 | 1.00 |',
        '| interruptible: 96, 224 in turn | 4.00 | 5.10 | 1.28 |',
    ]
    assert not any('default' in row for row in targets([*records, passes])), 'reported, not bounded'
    assert changes(records, records[:-2]) == [
        f'default cpu openvino {what} 224: not measured now' for what in ('path_plain', 'path')
    ]


def test_changes_are_told_beyond_a_tenth_only_and_so_is_what_is_missing():
    old, new = network_records(), network_records()
    new[2]['ms_p50'] *= 1.05
    new[3]['ms_p50'] *= 2
    del new[0]
    lines = changes(old, new)
    assert len(lines) == 2
    assert '(+100%)' in lines[0]
    assert lines[1] == 'resnet18 cpu eager plain: not measured now'


def test_turns_alternate_and_the_first_run_of_a_turn_does_not_count(monkeypatch):
    monkeypatch.setattr('benchmark.turns.PAUSE', 0.0)
    order = []

    def case(name, seconds):
        def turn(count):
            order.append(name)
            return [99.0] + [seconds] * (count - 1)

        return turn

    found = take_turns({'a': case('a', 1.0), 'b': case('b', 2.0)}, rounds=4, time_limit=60.0, runs=3)
    assert order == ['a', 'b'] * 5, 'the first time to see how long a run takes'
    assert found['a'].shape == (4, 3)
    assert ratio(found['b'], found['a']) == 2.0


def test_drift_of_the_machine_does_not_change_a_ratio():
    drift = np.linspace(1, 3, 9)[:, None]
    assert ratio(1.05 * drift * np.ones((9, 4)), drift * np.ones((9, 4))) == pytest.approx(1.05)


def test_short_runs_are_repeated_until_a_turn_measures_something(monkeypatch):
    monkeypatch.setattr('benchmark.turns.PAUSE', 0.0)
    asked = []
    found = take_turns(
        {'a': lambda count: asked.append(count) or [[0.0005, 0.001]] * count}, rounds=1, time_limit=0.0
    )
    assert asked == [2, 28, 28, 28][: len(asked)]
    assert found['a'].shape == (1, 20, 2)


def test_targets_say_what_was_measured_and_whether_it_is_enough():
    records = [
        *network_records(),
        record('resnet18', 'cpu', 'openvino', 'speedup', exit_index=1, ratio=1.4, precision='f32'),
        record('resnet18', 'cpu', 'openvino', 'speedup', exit_index=1, ratio=6.1, precision='int8'),
        record('mobilenet_v3_large', 'cpu', 'openvino', 'speedup', exit_index=1, ratio=5.4, precision='f32'),
        record('mobilenet_v3_large', 'cpu', 'openvino', 'speedup', exit_index=1, ratio=6.5, precision='int8'),
        record('small', 'cpu', 'openvino', 'plain', [0.001]),
        record('small', 'cpu', 'openvino', 'interruptible', [0.0013], exit_index=0, ratio=1.3),
        record('', 'cpu', 'openvino', 'node', [0.002], ratio=1.4, image='vga', transport='raw'),
        record('', 'cpu', '', 'not_received', count=1, frames=300, image='vga', transport='raw'),
        record('', 'cpu', '', 'memory', ratio=0.002, frames=10_000),
        record('', 'cpu', 'openvino', 'accuracy', exit_index=0, ratio=-0.3),
    ]
    rows = {line.split('|')[1].strip(): line.split('|')[2:4] for line in targets(records)[2:]}
    assert rows['openvino: contract / truncated <= 1.05'] == [
        ' resnet18 1.00-1.02; 2 of 2 exits within ',
        ' yes ',
    ]
    assert rows['openvino, from 2 ms: interruptible / plain <= 1.10'] == [' resnet18 1.10 ', ' yes ']
    assert rows['openvino, below 2 ms: interruptible / plain <= 1.20'] == [' small 1.30 ', ' **no** ']
    speedups = {name: row for name, row in rows.items() if 'eager torchvision' in name}
    assert speedups == {
        'resnet18, cpu, int8: plain eager torchvision / ours >= 6.0': [' 6.10 (int8) ', ' yes '],
        'mobilenet_v3_large, cpu, fastest: plain eager torchvision / ours >= 7.0': [
            ' 6.50 (int8) ',
            ' **no** ',
        ],
    }, 'bf16 was not measured: this processor does not compute in it'
    assert rows['node overhead, vga raw <= 2.5 ms p50'] == [' 2.00 ms ', ' yes ']
    assert rows['node overhead / bare relay, vga raw <= 1.3'] == [' 1.40 ', ' **no** ']
    assert rows['not received at 30 Hz: none'] == [' vga raw 1 of 300 ', ' **no** ']
    assert rows['memory over 10000 frames grows by less than 1%'] == [' +0.20% ', ' yes ']
    assert rows['openvino: accuracy within 0.1 points of eager at each exit'] == [
        ' 0.30 points ',
        ' **no** ',
    ]
    assert targets([]) == []


def test_tables_are_put_between_the_marks_of_a_text():
    start, end = MARKS
    once = placed(f'before {start} old {end} after', 'new')
    assert once == f'before {start}\n\nnew\n{end} after'
    assert placed(once, 'newer') == once.replace('new', 'newer')
    assert placed('no marks', 'new') == 'new'


def test_precisions_are_rows_of_their_own_and_runs_before_there_was_a_choice_are_single():
    def way(precision, ms):
        return [
            record(
                'a', 'cuda', 'cuda_graph', what, [ms * 1e-3] * 4, exit_index=0, ratio=1.0, precision=precision
            )
            for what in ('plain', 'contract', 'interruptible')
        ]

    old = [{k: v for k, v in each.items() if k != 'precision'} for each in way('f32', 4.0)]
    new = way('f32', 1.0) + way('f16', 2.0)
    rows = markdown(new, 'a machine').splitlines()[-2:]
    assert [row.split(' | ')[1:5] for row in rows] == [
        ['cuda, cuda_graph, f32', '-', '1.00', '1.00'],
        ['cuda, cuda_graph, f16', '-', '2.00', '2.00'],
    ]
    assert changes(old, new) == [
        f'a cuda cuda_graph {what} exit 1: 4.00 -> 1.00 ms (-75%)'
        for what in ('plain', 'contract', 'interruptible')
    ]
    assert changes(way('f16', 2.0), way('f16', 4.0))[0].startswith('a cuda cuda_graph plain f16 exit 1: 2.00')


def test_the_plain_network_at_its_best_start_up_and_real_time_are_tables():
    known = {'infeasible_rate': 0.01, 'miss_rate': None, 'expected_accuracy': 0.5, 'others_progress': 0.4}
    known['of_unloaded'] = 0.99
    records = [
        record('a', 'cpu', 'openvino', 'plain', [0.004], precision='f32'),
        record('a', 'cpu', 'ONNX Runtime', 'plain_at_its_best', [0.005], ratio=1.25, precision='f32'),
        record('a', 'cpu', 'openvino', 'startup', [3.0], again=False, mib=300.0),
        record('a', 'cpu', 'openvino', 'startup', [1.5], again=True, mib=250.0),
        record('a', 'cpu', 'eager', 'startup', [2.0], again=False, mib=400.0),
        record(
            'a', 'cpu', '', 'realtime', ratio=0.99, load='burn', scheduling='real time', frames=9,
            which='undisturbed', **known,
        ),
    ]  # fmt: skip
    rows = markdown(records, 'a machine').splitlines()
    assert '| plain network at its best | OpenVINO | ONNX Runtime | ONNX Runtime / ours f32 |' in rows
    assert '| a | 4.00 | 5.00 | 1.25 |' in rows
    assert '| a | 3.00 | 1.50 | 2.00 | 250 | 400 |' in rows
    assert '| a | burn | real time | 9 undisturbed | 1.00 |  | 0.5000 | 0.990 | 0.40 |' in rows


def test_what_a_way_failed_with_is_said():
    text = markdown([record('a', 'cuda', 'cuda_graph', 'failed', precision='bf16', reason='no memory')], 'm')
    assert 'Not measured: a, cuda, cuda_graph, bf16: no memory' in text
