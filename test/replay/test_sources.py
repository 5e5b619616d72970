"""Sources: every kind of recording yields the frames put in; what cannot be replayed says what to write."""

import itertools
import os
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recordings import COMPRESSED, IMAGE, PERIOD, ROS2, START, message, write_bag
from rosbags import rosbag1, rosbag2
from rosbags.rosbag2 import CompressionMode, StoragePlugin

from impatient_ros.replay import CompressedFrame, RawFrame, Source, SourceError, SourceFrame, open_source
from impatient_ros.replay.pacing import Pacer
from impatient_ros.replay.pictures import Pictures
from impatient_ros.replay.schedule import ReplayClock, schedule
from impatient_ros.replay.video import Webcam

DATA = Path(__file__).parents[3] / 'shared' / 'data'


@pytest.mark.parametrize(
    ('name', 'format', 'compression', 'open_as'),
    [
        ('folder', 'mcap', None, ''),
        ('mcap', 'mcap', None, 'mcap.mcap'),
        ('zstd', 'mcap', CompressionMode.MESSAGE, ''),
        ('sqlite', 'sqlite', None, ''),
        ('db3', 'sqlite', None, 'db3.db3'),
        ('file', 'sqlite', CompressionMode.FILE, ''),
        ('metadata', 'sqlite', None, 'metadata.yaml'),
        ('one.bag', 'bag', None, None),
        ('lz4.bag', 'bag', rosbag1.Writer.CompressionFormat.LZ4, None),
        ('bz2.bag', 'bag', rosbag1.Writer.CompressionFormat.BZ2, None),
    ],
)
def test_every_kind_of_bag_yields_frames_and_exact_times_as_often_as_asked(
    tmp_path, name, format, compression, open_as
):
    path = write_bag(tmp_path / name, {'/eye': (IMAGE, 5)}, format=format, compression=compression)
    source = open_source(path / open_as if open_as else path)
    assert (source.transport, source.length, source.live) == ('raw', 5, False)
    assert '/eye' in source.description
    for _ in range(2):
        frames = list(source.frames())
        assert [frame.stamp_ns for frame in frames] == [START + i * PERIOD for i in range(5)]
        assert [frame.recorded_ns for frame in frames] == [START + i * PERIOD + 3_000_000 for i in range(5)]
        assert [frame.time for frame in frames] == pytest.approx([0, 0.05, 0.1, 0.15, 0.2])
        assert frames[1].stamp == pytest.approx((START + PERIOD) * 1e-9, abs=1e-6)
        for index, frame in enumerate(frames):
            image = frame.image
            assert isinstance(image, RawFrame)
            assert (image.encoding, image.height, image.width, image.step) == ('mono8', 4, 6, 8)
            assert bytes(image.data) == bytes([index]) * 32
            assert (frame.frame_id, frame.topic) == ('lens', '/eye')


def test_a_folder_without_its_metadata_is_read_from_the_one_file_in_it(tmp_path):
    path = write_bag(tmp_path / 'eye', {'/eye': (IMAGE, 2)})
    (path / 'metadata.yaml').unlink()
    assert len(list(open_source(path).frames())) == 2


@pytest.mark.parametrize('format', ['mcap', 'bag'])
def test_compressed_images_keep_their_format_and_bytes(tmp_path, format):
    path = write_bag(tmp_path / f'packed.{format}', {'/packed': (COMPRESSED, 2)}, format=format)
    source = open_source(path)
    assert source.transport == 'compressed'
    assert [frame.image for frame in source.frames()] == [
        CompressedFrame('jpg', bytes(9)),
        CompressedFrame('jpg', bytes([1] * 9)),
    ]


def test_a_bag_with_several_image_topics_asks_which_and_takes_the_answer_with_or_without_slash(tmp_path):
    topics = {'/left': (IMAGE, 3), '/right': (COMPRESSED, 1), '/empty': (IMAGE, 0)}
    path = write_bag(tmp_path / 'pair', topics)
    with pytest.raises(SourceError, match='TOPIC=<name>') as error:
        open_source(path)
    assert '/left  (sensor_msgs/Image, 3 frames)' in str(error.value)
    assert '/right  (sensor_msgs/CompressedImage, 1 frame)' in str(error.value)
    assert '/empty' not in str(error.value)
    with pytest.raises(SourceError, match=r"'/middle'; write TOPIC= with one of\n  /left"):
        open_source(path, topic='/middle')
    assert open_source(path, topic='/right').length == 1
    assert len(list(open_source(path, topic='left').frames())) == 3


def test_the_only_topic_with_images_is_taken_whatever_else_was_recorded(tmp_path):
    topics = {'/eye': (IMAGE, 2), '/unused': (COMPRESSED, 0), '/battery': ('somebody_msgs/msg/Battery', 4)}
    source = open_source(write_bag(tmp_path / 'robot', topics))
    assert [frame.topic for frame in source.frames()] == ['/eye', '/eye']


def test_a_type_that_rosbags_cannot_parse_does_not_hide_the_images(tmp_path):
    with rosbag2.Writer(tmp_path / 'odd', version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        odd = writer.add_connection('/odd', 'odd_msgs/msg/Odd', msgdef='what ? is : this', rihs01='RIHS01_0')
        writer.write(odd, START, b'\0\1\0\0')
        eye = writer.add_connection('/eye', IMAGE, typestore=ROS2)
        writer.write(eye, START, ROS2.serialize_cdr(message(ROS2, IMAGE, 7, START), IMAGE))
    assert len(list(open_source(tmp_path / 'odd').frames())) == 1


@pytest.mark.parametrize('topics', [{'/battery': ('somebody_msgs/msg/Battery', 2)}, {}, {'/eye': (IMAGE, 0)}])
def test_a_bag_without_images_says_so(tmp_path, topics):
    with pytest.raises(SourceError, match='holds no sensor_msgs/Image and no CompressedImage'):
        open_source(write_bag(tmp_path / 'blind', topics))


def test_a_bag_without_the_package_that_reads_it_says_what_to_install_and_why(tmp_path, monkeypatch):
    path = write_bag(tmp_path / 'bag', {'/eye': (IMAGE, 1)})
    monkeypatch.setitem(sys.modules, 'rosbags', None)
    with pytest.raises(SourceError, match=r'rosbags, which cannot be imported \(.*\): pip install') as caught:
        open_source(path)
    assert isinstance(caught.value.__cause__, ImportError)


@pytest.mark.parametrize('suffix', ['.mcap', '.db3', '.bag'])
@pytest.mark.parametrize('damage', ['empty', 'half', 'text'])
def test_a_damaged_bag_is_refused_with_its_name_and_a_way_out(tmp_path, suffix, damage):
    format = {'.mcap': 'mcap', '.db3': 'sqlite', '.bag': 'bag'}[suffix]
    whole = write_bag(tmp_path / f'whole{suffix}', {'/eye': (IMAGE, 200)}, format=format)
    whole = next(whole.glob(f'*{suffix}')) if whole.is_dir() else whole
    data = {'empty': b'', 'half': whole.read_bytes()[: whole.stat().st_size // 2], 'text': b'hello\n' * 50}[
        damage
    ]
    path = tmp_path / f'damaged{suffix}'
    path.write_bytes(data)
    with pytest.raises(
        SourceError, match=f'damaged{suffix} cannot be read as a bag.*(reindex|recover)'
    ) as error:
        list(open_source(path).frames())
    assert '\n' not in str(error.value)


def test_damage_in_the_middle_is_reported_with_the_number_of_frames_before_it(tmp_path):
    path = write_bag(tmp_path / 'hole.bag', {'/eye': (IMAGE, 3)}, format='bag')
    data = bytearray(path.read_bytes())
    second = data.index(bytes([1] * 32))
    data[second - 60 : second] = b'\xff' * 60  # the sizes in front of the pixels
    path.write_bytes(data)
    frames = open_source(path).frames()
    next(frames)
    with pytest.raises(SourceError, match='after 1 of 3 frames'):
        list(frames)


@pytest.fixture
def album(tmp_path):
    """Three pictures of sizes 20x30, 21x31, 22x32 and a note."""
    folder = tmp_path / 'album'
    (folder / 'more').mkdir(parents=True)
    for index, name in enumerate(['shot2.png', 'shot10.jpg', 'more/x.bmp']):
        cv2.imwrite(str(folder / name), np.full((20 + index, 30 + index, 3), (10, 120, 240), np.uint8))
    (folder / 'note.txt').write_text('no picture')
    (folder / '.thumbnail.png').write_bytes(b'hidden')
    return folder


def test_a_folder_yields_its_pictures_in_natural_order_as_bgr8_and_counts_other_files(album):
    source = open_source(album)
    frames = list(source.frames())
    assert [frame.name for frame in frames] == ['more/x.bmp', 'shot2.png', 'shot10.jpg']
    assert [frame.time for frame in frames] == pytest.approx([0, 0.1, 0.2])
    assert [frame.stamp_ns for frame in frames] == [None] * 3
    assert (source.length, source.skipped, source.transport) == (3, 1, 'raw')
    image = frames[1].image
    assert (image.encoding, image.height, image.width, image.step) == ('bgr8', 20, 30, 90)
    assert bytes(image.data) == bytes([10, 120, 240]) * 600


def test_with_compressed_transport_jpeg_and_png_travel_as_they_are_and_others_as_jpeg(album):
    source = open_source(album, transport='compressed')
    images = [frame.image for frame in source.frames()]
    assert source.transport == 'compressed'
    assert [image.format for image in images] == ['jpeg', 'png', 'jpeg']
    assert bytes(images[1].data) == (album / 'shot2.png').read_bytes()
    assert cv2.imdecode(np.frombuffer(images[0].data, np.uint8), 1).shape == (22, 32, 3)


def test_a_broken_picture_is_skipped_counted_and_named_once(album, caplog):
    (album / 'shot3.png').write_bytes(b'not a picture')
    (album / 'shot4.jpg').write_bytes(b'')
    source = open_source(album)
    assert [len(list(source.frames())) for _ in range(2)] == [3, 3]
    assert source.skipped == 3
    assert sum('shot3.png' in record.getMessage() for record in caplog.records) == 1


def test_links_are_followed_and_what_cannot_be_read_is_named(album, tmp_path, caplog):
    elsewhere = tmp_path / 'elsewhere'
    elsewhere.mkdir()
    (album / 'shot2.png').rename(elsewhere / 'shot2.png')
    (album / 'linked').symlink_to(elsewhere)
    (elsewhere / 'back').symlink_to(elsewhere)  # in a circle
    (album / 'gone.jpg').symlink_to('/nowhere/x.jpg')
    os.mkfifo(album / 'pipe.png')
    before = Pictures(album).skipped
    source = Pictures(album)
    names = [frame.name for frame in source.frames()]
    assert names == ['linked/shot2.png', 'more/x.bmp', 'shot10.jpg']
    assert source.skipped == before + 2
    for name in ('gone.jpg', 'pipe.png'):
        assert f'{name}: it cannot be decoded' in caplog.text


def test_a_single_picture_is_a_source_of_one(album):
    assert [frame.name for frame in open_source(album / 'shot2.png').frames()] == ['shot2.png']


def test_pictures_that_are_all_broken_are_an_error_not_an_endless_loop(tmp_path):
    (tmp_path / 'a.png').write_bytes(b'x')
    with pytest.raises(SourceError, match='none of the 1 pictures'):
        list(Pictures(tmp_path).frames())


@pytest.fixture
def video(tmp_path):
    path = tmp_path / 'clip.avi'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 25, (64, 48))
    if not writer.isOpened():
        pytest.skip('this OpenCV cannot write a video to test with')
    for index in range(10):
        writer.write(np.full((48, 64, 3), index * 20, np.uint8))
    writer.release()
    return path


def test_a_video_yields_its_frames_at_its_own_rate(video):
    source = open_source(video)
    assert '64x48 at 25 Hz' in source.description
    frames = list(source.frames())
    assert [frame.time for frame in frames] == pytest.approx([i / 25 for i in range(10)], abs=1e-3)
    means = [np.frombuffer(frame.image.data, np.uint8).mean() for frame in frames]
    assert means == pytest.approx([i * 20 for i in range(10)], abs=4)
    assert frames[0].image.encoding == 'bgr8'


def test_a_truncated_or_foreign_file_is_no_video(video, capfd):
    for name, data in {'half.mp4': video.read_bytes()[:100], 'notes.txt': b'hello'}.items():
        path = video.with_name(name)
        path.write_bytes(data)
        with pytest.raises(SourceError, match=rf'{name} is no video .* write SOURCE='):
            open_source(path)
    assert capfd.readouterr().err == ''


class FakeCapture:
    """Delivers `count` grey pictures, then nothing."""

    def __init__(self, count, opened=True):
        self.left, self.opened, self.released = count, opened, False

    def isOpened(self):
        return self.opened

    def grab(self):
        self.left -= 1
        return self.left >= 0

    def retrieve(self):
        return True, np.full((2, 4, 3), 9, np.uint8)

    def release(self):
        self.released = True


def test_a_webcam_is_live_stamps_at_the_grab_and_ends_only_by_failing():
    capture = FakeCapture(2)
    ticks = itertools.count(5)
    with Webcam(0, open_capture=lambda index: capture, clock_ns=lambda: next(ticks)) as source:
        frames = source.frames()
        first = next(frames)
        assert (source.live, source.length) == (True, None)
        assert (first.time, first.stamp_ns, first.image.width) == (None, 5, 4)
        assert next(frames).stamp_ns == 6
        with pytest.raises(SourceError, match='webcam 0 stopped delivering after 2 frames'):
            next(frames)
    assert capture.released


@pytest.mark.parametrize(
    ('present', 'says'),
    [
        ([], 'there is no webcam 3: this machine has no /dev/video*'),
        (['video0'], 'there is no webcam 3: write SOURCE=0'),
        (['video0', 'video2', 'video10'], 'write SOURCE= with one of 0, 2, 10'),
        (['video3'], 'another program may hold it, or your user may not be in the group'),
    ],
)
def test_a_webcam_that_does_not_open_says_which_ones_there_are(tmp_path, present, says):
    for name in present:
        (tmp_path / name).touch()
    with pytest.raises(SourceError) as error:
        Webcam(3, open_capture=lambda index: FakeCapture(0, opened=False), devices=tmp_path)
    assert says in str(error.value)


@pytest.mark.parametrize('where', ['77', '/dev/video77'])
def test_a_number_or_a_device_file_means_a_webcam(where, capfd):
    with pytest.raises(SourceError, match='webcam 77'):
        open_source(where)
    assert capfd.readouterr().err == ''


def test_what_is_no_source_says_what_to_write(tmp_path, album):
    with pytest.raises(SourceError, match=r'gone does not exist: write SOURCE='):
        open_source(tmp_path / 'gone')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(SourceError, match='holds no files'):
        open_source(tmp_path / 'empty')
    (tmp_path / 'texts').mkdir()
    (tmp_path / 'texts' / 'a.txt').touch()
    with pytest.raises(SourceError, match='holds 1 file, none a picture'):
        open_source(tmp_path / 'texts')
    with pytest.raises(SourceError, match='TOPIC=/eye makes sense for bags only'):
        open_source(album, topic='/eye')


def test_a_folder_of_recordings_lists_them(tmp_path):
    write_bag(tmp_path / 'a', {'/eye': (IMAGE, 1)})
    write_bag(tmp_path / 'b.bag', {'/eye': (IMAGE, 1)}, format='bag')
    (tmp_path / 'c.mp4').touch()
    with pytest.raises(SourceError) as error:
        open_source(tmp_path)
    for name in ['a', 'b.bag', 'c.mp4']:
        assert f'SOURCE={tmp_path / name}' in str(error.value)


class Recorded(Source):
    """Frames at these times (None: live), recorded at the same seconds after START."""

    def __init__(self, times):
        self.times, self.description = times, 'a recording'

    def frames(self):
        image = CompressedFrame('jpeg', b'')
        for time in self.times:
            recorded = None if time is None else START + round(time * 1e9)
            yield SourceFrame(image, time, recorded_ns=recorded)


def test_a_recording_plays_once_at_its_own_rate():
    due = list(schedule(Recorded([0, 0.1, 0.4])))
    assert [(item.due, item.shift_ns) for item in due] == [(0, 0), (0.1, 0), (0.4, 0)]


def test_frames_cuts_a_recording_short_or_starts_it_over():
    assert len(list(schedule(Recorded([0, 0.1, 0.4]), frames=2))) == 2
    again = list(schedule(Recorded([0, 0.1, 0.4]), frames=5))
    assert [item.due for item in again] == pytest.approx([0, 0.1, 0.4, 0.6, 0.7])  # 0.2: the mean interval
    assert [item.shift_ns for item in again] == [0, 0, 0, 600_000_000, 600_000_000]


def test_a_loop_never_ends_and_its_recorded_times_keep_growing():
    items = list(itertools.islice(schedule(Recorded([0, 0.1]), loop=True), 50))
    times = [item.frame.recorded_ns + item.shift_ns for item in items]
    assert all(before < after for before, after in itertools.pairwise(times))


def test_a_single_frame_repeats_ten_times_a_second():
    assert [item.due for item in schedule(Recorded([0]), frames=3)] == pytest.approx([0, 0.1, 0.2])


@given(st.integers(1, 20), st.integers(1, 60), st.floats(0.1, 500))
def test_a_given_rate_spaces_the_frames_evenly_across_laps(length, frames, rate):
    items = list(schedule(Recorded([i * 0.3 for i in range(length)]), rate=rate, frames=frames))
    assert [item.due for item in items] == pytest.approx([i / rate for i in range(frames)])


def test_a_source_without_frames_is_an_error_not_an_endless_loop():
    with pytest.raises(SourceError, match='a recording has no frames'):
        list(schedule(Recorded([]), loop=True))


@pytest.mark.parametrize(
    ('camera', 'rate', 'kept'), [(30, 10, 34), (30, 30, 100), (30, 60, 100), (30, 12, 40)]
)
def test_a_rate_thins_a_live_source_without_drifting(camera, rate, kept):
    rng = np.random.default_rng(0)
    now = iter(np.arange(100) / camera + rng.uniform(0, 0.003, 100))
    items = list(schedule(Recorded([None] * 100), rate=rate, clock=lambda: next(now)))
    assert all(item.due is None for item in items)
    assert len(items) == pytest.approx(kept, abs=1)


def test_frames_of_a_live_source_are_not_asked_for_once_there_are_enough():
    source = Webcam(0, open_capture=lambda index: FakeCapture(2), clock_ns=lambda: 0)
    assert len(list(schedule(source, frames=2))) == 2  # a third would raise


class FakeTime:
    """A clock on which waiting takes as long as it is told, and a little more."""

    def __init__(self, overshoot=0.0):
        self.now, self.overshoot, self.stopped = 100.0, overshoot, False

    def clock(self):
        return self.now

    def wait(self, seconds):
        self.now += max(seconds, 0.0) + (self.overshoot if seconds > 0 else 0.0)
        return self.stopped


def test_lateness_does_not_add_up():
    time = FakeTime(overshoot=0.003)
    pacer = Pacer(time.wait, time.clock)
    pacer.start()
    for index in range(1000):
        assert pacer.until(index * 0.02)
        time.now += 0.001  # publishing
    assert pacer.elapsed() == pytest.approx(999 * 0.02 + 0.004)
    assert pacer.lateness == pytest.approx(0.003)


def test_short_delays_are_caught_up_with_and_long_ones_shift_the_schedule(caplog):
    time = FakeTime()
    pacer = Pacer(time.wait, time.clock)
    pacer.start()
    time.now += 0.5
    assert pacer.until(0.1)
    assert pacer.elapsed() == pytest.approx(0.5)
    time.now += 60.0  # the machine slept
    assert pacer.until(0.6)
    assert pacer.elapsed() == pytest.approx(0.6)
    assert 'fell 59.9 s behind' in caplog.text
    assert pacer.lateness == pytest.approx(59.9)


def test_while_it_waits_it_ticks_and_it_stops_when_told():
    time, ticks = FakeTime(), []
    pacer = Pacer(time.wait, time.clock)
    pacer.start(delay=0.1)

    def tick():
        ticks.append(pacer.elapsed())
        time.stopped = len(ticks) == 30

    assert pacer.until(0.0, tick)
    assert ticks[0] == pytest.approx(-0.1)
    assert max(after - before for before, after in itertools.pairwise(ticks)) < 0.006
    assert not pacer.until(10.0, tick)
    assert len(ticks) == 30


def test_the_replay_clock_runs_between_frames_and_waits_for_those_to_come():
    clock = ReplayClock()
    clock.reach(0.0, 1000_000_000)
    assert clock.now_ns(-0.5) == 500_000_000
    assert clock.now_ns(0.0) == 1000_000_000
    assert clock.now_ns(0.3) == 1000_000_000  # the next frame is not read yet
    clock.reach(0.5, 3000_000_000)  # two recorded seconds in half a second
    assert clock.now_ns(0.25) == 2000_000_000
    assert clock.now_ns(0.6) == 3000_000_000
    clock.release()
    assert clock.now_ns(0.6) == 3100_000_000


@given(
    st.lists(st.tuples(st.floats(1e-3, 2), st.integers(-(10**9), 10**10)), min_size=1, max_size=20),
    st.lists(st.floats(-1, 30), max_size=30),
)
def test_the_replay_clock_never_goes_back(steps, asked):
    clock, due, instant, latest = ReplayClock(), 0.0, 10**12, 0
    for (step, gain), moment in itertools.zip_longest(steps, asked, fillvalue=(1.0, 0)):
        if isinstance(moment, tuple):
            moment = due
        due, instant = due + step, instant + gain
        clock.reach(due, instant)
        now = clock.now_ns(moment)
        assert now >= latest
        latest = now


def real(name):
    path = DATA / 'bags' / name
    if not path.exists():
        pytest.skip(f'the recording {name} is not on this machine')
    return path


def test_the_real_recording_of_a_drone_is_read_whole():
    frames = list(open_source(real('euroc_v101_cam0')).frames())
    assert len(frames) == 95
    assert frames[0].stamp_ns == 1403715273262142976
    assert frames[-1].time == pytest.approx(4.7)
    assert {(f.image.encoding, f.image.width, f.image.height, len(f.image.data)) for f in frames} == {
        ('mono8', 752, 480, 752 * 480)
    }


def test_a_truncated_real_recording_is_refused(tmp_path):
    whole = next(real('euroc_v101_cam0').glob('*.mcap'))
    with open(whole, 'rb') as file:
        (tmp_path / 'cut.mcap').write_bytes(file.read(1_000_000))
    with pytest.raises(SourceError, match='mcap recover'):
        open_source(tmp_path / 'cut.mcap')
    shutil.copy(whole.with_name('metadata.yaml'), tmp_path)
    (tmp_path / 'cut.mcap').rename(tmp_path / whole.name)
    with pytest.raises(SourceError, match='mcap recover'):
        open_source(tmp_path)


def test_the_real_fisheye_pair_asks_for_a_topic():
    with pytest.raises(SourceError, match='/camera/fisheye2/image_raw'):
        open_source(real('t265_fisheye.bag'))
    source = open_source(real('t265_fisheye.bag'), topic='/camera/fisheye2/image_raw')
    assert [(f.image.encoding, f.image.width, f.image.height) for f in source.frames()] == [
        ('mono8', 848, 800)
    ] * 3


@pytest.mark.parametrize(
    ('name', 'size'), [('aruco_images.bag', (960, 1280)), ('fiducial_board_611.bag', (720, 1280))]
)
def test_the_real_compressed_recordings_hold_jpeg(name, size):
    source = open_source(real(name))
    (frame,) = source.frames()
    assert (source.transport, frame.image.format) == ('compressed', 'jpg')
    assert cv2.imdecode(np.frombuffer(frame.image.data, np.uint8), cv2.IMREAD_COLOR).shape[:2] == size


def test_the_shipped_pictures_are_a_source():
    source = open_source(Path(__file__).parents[2] / 'config' / 'demo' / 'pictures')
    assert source.length == len(list(source.frames())) >= 10
    assert source.skipped == 0
