import os
import subprocess
import sys
import textwrap
import threading
import time
from functools import cache, partial

import numpy as np
import pytest
import torch
from runtime.staged import expected, graph, image, network, resolutions

from impatient_ros.cache import CacheFile
from impatient_ros.checkpoint import load, read
from impatient_ros.network import ImpatientNetwork
from impatient_ros.resources import resource_path
from impatient_ros.runtime import RuntimeUnavailableError
from impatient_ros.runtime.base import RunCancelledError
from impatient_ros.runtime.memory_limit import prepare_within
from impatient_ros.runtime.openvino import runtime as module
from impatient_ros.runtime.openvino.models import SMALL, read_sharing
from impatient_ros.runtime.openvino.runtime import KEPT, OpenVinoRuntime, compiled_cache

DEFAULT = resource_path('models', 'clothing10.safetensors')


@pytest.fixture(scope='module')
def small():
    return network()


@pytest.fixture(scope='module')
def large():
    return network('resnet18', size=224, exits=3)


@pytest.fixture(scope='module')
def small_graph(small, tmp_path_factory):
    return graph(small, tmp_path_factory.mktemp('checkpoint'))


@pytest.fixture(scope='module')
def runtime(small_graph):
    return OpenVinoRuntime([small_graph])


def assert_equal(found, wanted):
    assert np.abs(found - wanted).max() <= 1e-4 * max(1.0, np.abs(wanted).max())


def check_every_way(of, runtime):
    picture = image(of)
    wanted = expected(of, picture)
    assert np.ptp(wanted[-1]) > 1e-3, 'scores that do not differ prove nothing'
    for t in range(runtime.exits):
        path = runtime.start(picture)
        path.stage(t)
        assert (path.position, path.ready) == (t + 1, True)
        assert_equal(path.exit(), wanted[t])
        alone = runtime.start(picture)
        for _ in range(t + 1):
            alone.stage()
        assert alone.ready == (t == runtime.exits - 1)  # there is nothing behind the last but its head
        assert_equal(alone.exit(), wanted[t])
    every = runtime.start(picture)
    for t in range(runtime.exits):
        every.stage(t)
        assert every.ready
        assert_equal(every.exit(), wanted[t])


@pytest.mark.parametrize('threads', [1, 2])
def test_the_default_model_answers_as_in_torch(threads):
    runtime = OpenVinoRuntime([read(DEFAULT).graph], threads=threads)
    assert (runtime.threads, runtime.describe()['threads']) == (threads, threads)
    check_every_way(load(DEFAULT).network, runtime)


@pytest.mark.parametrize(
    ('name', 'size'),
    [
        ('resnet18', 64),
        ('mobilenet_v3_small', 64),
        pytest.param('swin_t', 32, marks=pytest.mark.slow),
        pytest.param('vit_b_16', 32, marks=pytest.mark.slow),  # 86 million parameters
    ],
)
def test_every_family_answers_as_in_torch(name, size, tmp_path):
    of = network(name, size)
    check_every_way(of, OpenVinoRuntime([graph(of, tmp_path)]))


def test_results_are_their_own_memory_and_an_image_that_is_read_only_or_strided_will_do(small, runtime):
    first, second = image(small, 1), image(small, 2)
    wanted = expected(small, first)[2]
    second.flags.writeable = False
    run = runtime.start(first)
    run.stage(2)
    kept = run.exit()
    other = runtime.start(second)
    other.stage(2)
    assert_equal(other.exit(), expected(small, np.array(second))[2])
    assert_equal(kept, wanted)
    strided = np.ascontiguousarray(first.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    run = runtime.start(strided)
    run.stage(2)
    assert_equal(run.exit(), wanted)


def test_several_threads_are_used_only_where_they_pay_and_no_more_than_there_are(small_graph, monkeypatch):
    monkeypatch.setattr(module, 'usable_cores', lambda: 2)
    for pays, wanted in ((True, 2), (False, 1)):
        monkeypatch.setattr(module, 'faster_with_several', lambda one, several, pays=pays: pays)
        assert OpenVinoRuntime([small_graph]).threads == wanted
    monkeypatch.setattr(module, 'faster_with_several', lambda one, several: pytest.fail('there is one core'))
    monkeypatch.setattr(module, 'usable_cores', lambda: 1)
    assert OpenVinoRuntime([small_graph]).threads == 1


def test_how_many_threads_is_measured_once(small_graph, monkeypatch, tmp_path):
    monkeypatch.setattr(module, 'usable_cores', lambda: 2)
    choice = CacheFile(tmp_path / 'choice.json', 1)
    for chosen in (2, 1):
        monkeypatch.setattr(module, 'faster_with_several', lambda one, several, pays=chosen == 2: pays)
        assert OpenVinoRuntime([small_graph], choice=choice).threads == chosen
        monkeypatch.setattr(module, 'faster_with_several', lambda *_: pytest.fail('it is known'))
        assert OpenVinoRuntime([small_graph], choice=choice).threads == chosen
        assert OpenVinoRuntime([small_graph], threads=3 - chosen, choice=choice).threads == 3 - chosen
        choice.path.unlink()


def test_threads_sleep_between_frames(small, small_graph):
    runtime = OpenVinoRuntime([small_graph], threads=2)
    for _ in range(20):
        run = runtime.start(image(small))
        run.stage(2)
        run.exit()
    before = time.process_time()
    time.sleep(0.5)  # what is asked is what threads do meanwhile
    assert time.process_time() - before < 0.05


def test_one_thread_starts_no_others(tmp_path):
    """Counted in a process of its own: other tests' runtimes have theirs."""
    script = """
        import sys
        from impatient_ros.checkpoint import read
        from impatient_ros.runtime.openvino.runtime import OpenVinoRuntime
        import openvino

        def threads():
            return int(next(l for l in open('/proc/self/status') if l.startswith('Threads')).split()[1])
        before = threads()
        OpenVinoRuntime([read(sys.argv[1]).graph], threads=1)
        print(threads() - before)
    """
    done = subprocess.run(
        [sys.executable, '-c', textwrap.dedent(script), str(DEFAULT)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) <= 1, 'at most one, for compiling'


def test_there_is_no_integrated_gpu_and_the_message_says_so(small_graph):
    import openvino

    if any(name.startswith('GPU') for name in openvino.Core().available_devices):
        pytest.skip('there is a GPU')
    with pytest.raises(RuntimeUnavailableError, match="no integrated GPU of Intel's here, only CPU"):
        OpenVinoRuntime([small_graph], 'igpu')


def test_what_openvino_refuses_is_refused_with_its_reason(small_graph, monkeypatch):
    def broken(*_):
        raise RuntimeError('\n\nno such operation\nmore')

    monkeypatch.setattr(module, 'cut', broken)
    with pytest.raises(
        RuntimeUnavailableError, match=r'cannot run this network \(no such operation\)'
    ) as caught:
        OpenVinoRuntime([small_graph])
    assert isinstance(caught.value.__cause__, RuntimeError)


@cache
def lite(exits):
    """Networks and graphs: 64 and 128 px have one graph, 80 px pads otherwise where 5 px are halved."""
    pytest.importorskip('timm')

    torch.manual_seed(0)
    largest = ImpatientNetwork.from_timm('tf_efficientnet_lite0', exits=exits, classes=7, image_size=128)
    return resolutions(largest.eval(), (64, 80, 128))


class TestResolutions:
    @pytest.mark.parametrize('exits', [1, 2])
    def test_each_answers_as_in_torch_whatever_the_order(self, exits):
        networks, graphs = lite(exits)
        runtime = OpenVinoRuntime(graphs, threads=1)
        assert (runtime.exits, runtime.sides) == (exits, (64, 80, 128))
        for of in (*networks, *reversed(networks)):
            check_every_way(of, runtime)

    def test_each_piece_is_compiled_once_for_all_but_alone_where_there_is_one_size(self, monkeypatch):
        """A network of one resolution pays nothing for a choice that it does not have."""
        compiled = []
        compile_model = OpenVinoRuntime._compile_model

        def counted(self, model):
            compiled.append([each.get_type_name() for each in model.get_ops()].count('If'))
            return compile_model(self, model)

        monkeypatch.setattr(OpenVinoRuntime, '_compile_model', counted)
        graphs = lite(2)[1]
        OpenVinoRuntime(graphs, threads=1)
        assert compiled == [3] * 5
        compiled.clear()
        OpenVinoRuntime(graphs[-1:], threads=1)
        assert compiled == [0] * 5

    def test_another_size_is_refused_with_those_there_are(self):
        runtime = OpenVinoRuntime(lite(1)[1], threads=1)
        with pytest.raises(ValueError, match='image of 96 px: openvino executes 64, 80, 128 px'):
            runtime.start(np.zeros((1, 3, 96, 96), np.float32))

    def test_what_exceeds_the_memory_limit_is_left_out(self, monkeypatch, caplog):
        networks, graphs = lite(1)
        taken = iter([100.0, 110.0, 130.0, 120.0])
        monkeypatch.setattr(module, 'process_memory', lambda: next(taken))
        monkeypatch.setattr(module, 'prepare_within', partial(prepare_within, memory=lambda: next(taken)))
        runtime = OpenVinoRuntime(graphs, threads=1, memory_limit=25)
        assert runtime.sides == (64, 80)
        assert 'left out by memory_limit 25 MiB: 128 px (30 MiB with it)' in caplog.text
        check_every_way(networks[1], runtime)

    def test_threads_are_chosen_once_at_the_largest(self, monkeypatch):
        asked = []

        def choose(one, several):
            asked.append(next(iter(several().values())).shape)
            return True

        monkeypatch.setattr(module, 'usable_cores', lambda: 2)
        monkeypatch.setattr(module, 'faster_with_several', choose)
        assert OpenVinoRuntime(lite(1)[1]).threads == 2
        assert len(asked) == 1

    def test_weights_are_held_once(self):
        """What is read for another resolution has the same memory for what is large."""
        import openvino

        places = []
        for whole in read_sharing(openvino.Core(), lite(1)[1]):
            large = [
                node.data
                for node in whole.get_ordered_ops()
                if node.get_type_name() == 'Constant' and node.get_byte_size() >= SMALL
            ]
            places.append({array.__array_interface__['data'][0] for array in large})
            assert sum(array.nbytes for array in large) > 5e6
        assert places[0] == places[1] == places[2]


class TestCache:
    @pytest.fixture
    def compiled(self, monkeypatch):
        """How many pieces did not come from the cache, by runtime made."""
        found = []
        prepare = OpenVinoRuntime._prepare

        def counted(self, wholes):
            prepare(self, wholes)
            loaded = [
                request.get_compiled_model().get_property('LOADED_FROM_CACHE')
                for side in wholes
                for request, *_ in self._prepared[side].values()
            ]
            found.append(loaded.count(False))

        monkeypatch.setattr(OpenVinoRuntime, '_prepare', counted)
        return found

    def test_every_piece_is_compiled_once(self, small, small_graph, tmp_path, compiled):
        OpenVinoRuntime([small_graph], threads=1, cache=tmp_path)
        files = {file.name for file in tmp_path.iterdir()}
        check_every_way(small, OpenVinoRuntime([small_graph], threads=1, cache=tmp_path))
        assert compiled == [9, 0]
        assert {file.name for file in tmp_path.iterdir()} == files

    def test_files_that_are_cut_off_are_made_anew(self, small, small_graph, tmp_path, compiled):
        OpenVinoRuntime([small_graph], threads=1, cache=tmp_path)
        for file in tmp_path.iterdir():
            file.chmod(0o600)
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        check_every_way(small, OpenVinoRuntime([small_graph], threads=1, cache=tmp_path))
        assert compiled == [9, 9]

    def test_weights_that_changed_on_the_disk_are_noticed(self, small, small_graph, tmp_path, caplog):
        OpenVinoRuntime([small_graph], threads=1, cache=tmp_path)
        largest = max(tmp_path.iterdir(), key=lambda file: file.stat().st_size)
        largest.chmod(0o600)
        data = bytearray(largest.read_bytes())
        middle = len(data) // 2
        data[middle : middle + 4000] = os.urandom(4000)
        largest.write_bytes(data)
        check_every_way(small, OpenVinoRuntime([small_graph], threads=1, cache=tmp_path))
        assert 'is made anew' in caplog.text

    def test_another_networks_pieces_in_the_place_of_ours_are_noticed(
        self, small, small_graph, tmp_path, caplog, compiled
    ):
        """They agree with each other in every way: only a comparison with the checkpoint shows it."""
        other = network()
        with torch.no_grad():
            for weight in other.parameters():
                weight.add_(0.05 * torch.randn_like(weight))
        (tmp_path / 'checkpoint').mkdir()
        planted = {}
        for name, made_of in (('own', small_graph), ('other', graph(other, tmp_path / 'checkpoint'))):
            OpenVinoRuntime([made_of], threads=1, cache=tmp_path / name)
            planted[name] = sorted((tmp_path / name).glob('*'), key=lambda file: file.stat().st_mtime_ns)
        for own, theirs in zip(planted['own'], planted['other'], strict=True):
            own.chmod(0o600)
            own.write_bytes(theirs.read_bytes())
        compiled.clear()
        check_every_way(small, OpenVinoRuntime([small_graph], threads=1, cache=tmp_path / 'own'))
        assert 'differs by' in caplog.text
        assert 'from the checkpoint' in caplog.text
        assert compiled == [0, 9]  # all were taken from there, and none of them kept

    def test_each_checkpoint_has_a_folder_and_the_latest_ones_stay(self, tmp_path, monkeypatch):
        monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
        folders = [compiled_cache(f'{number:064}'[::-1]) for number in range(KEPT + 3)]
        assert len(set(folders)) == KEPT + 3
        assert sorted(folders[-1].parent.iterdir()) == sorted(folders[-KEPT:])
        assert compiled_cache(f'{KEPT + 2:064}'[::-1]) == folders[-1]

    def test_what_has_no_digest_is_not_kept(self):
        assert compiled_cache(None) is None


class TestCancelling:
    """Stopped by another thread, a run ends at the next operator, and the next one computes rightly."""

    @pytest.mark.parametrize('threads', [1, 2])
    def test_a_run_is_stopped_and_the_next_ones_answer_as_in_torch(self, large, threads, tmp_path):
        runtime = OpenVinoRuntime([graph(large, tmp_path)], threads=threads)
        picture = image(large)
        began, over = threading.Event(), threading.Event()

        def cancel():
            began.wait()
            while not over.wait(1e-4):  # what comes before it is being executed has no effect
                runtime.cancel()

        def run_until_stopped(toward):
            nonlocal run
            while True:
                run = runtime.start(picture)
                run.stage(toward)

        for toward, wanted in ((2, (3, True)), (None, (1, False)), (0, (1, True))):
            began.clear()
            over.clear()
            thread = threading.Thread(target=cancel)
            thread.start()
            run = runtime.start(picture)
            began.set()
            try:
                with pytest.raises(RunCancelledError) as stopped:
                    run_until_stopped(toward)
            finally:
                over.set()
                thread.join()
            assert (stopped.value.position, stopped.value.scores) == wanted
            assert (run.position, run.ready) == (0, False)
        check_every_way(large, runtime)

    def test_nothing_happens_where_nothing_is_executed(self, small, runtime):
        runtime.cancel()
        check_every_way(small, runtime)
        runtime.cancel()
        check_every_way(small, runtime)

    def test_other_errors_stay_what_they_are(self, small, small_graph):
        runtime = OpenVinoRuntime([small_graph])
        run = runtime.start(image(small))
        runtime.cancel()
        for key, prepared in runtime._prepared[runtime.sides[0]].items():
            runtime._current[key] = prepared._replace(request=_Broken())
        with pytest.raises(RuntimeError, match='no memory'):
            run.stage(0)


class _Broken:
    def set_input_tensor(self, *arguments): ...

    def infer(self, **options):
        raise RuntimeError('no memory')


def test_signals_are_handled_after_runtimes_have_gone_in_the_order_of_their_coming():
    """Each OpenVINO `Core` puts back the signal stack of the one before, which may be unmapped by then."""
    script = """
        import gc, os, signal
        from impatient_ros.checkpoint import read
        from impatient_ros.resources import resource_path
        from impatient_ros.runtime.openvino.runtime import OpenVinoRuntime

        graphs = [read(resource_path('models', 'clothing10.safetensors')).resolutions[-1].graph]
        first, second = OpenVinoRuntime(graphs, threads=1), OpenVinoRuntime(graphs, threads=1)
        del first
        gc.collect()
        del second
        gc.collect()
        signal.signal(signal.SIGUSR1, lambda *_: print('handled', flush=True))
        os.kill(os.getpid(), signal.SIGUSR1)
    """
    # With the fault handler, Python's signal handlers run on a stack of their own.
    command = [sys.executable, '-X', 'faulthandler', '-c', textwrap.dedent(script)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, 'handled\n'), done.stderr
