"""Recordings as they are found: half described, cut off, renamed, compressed, in use, out of time."""

import gzip
import os
import re
import shutil
import sqlite3
import struct
import sys
import zlib

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lz4 import frame as lz4
from recordings import IMAGE, PERIOD, ROS2, START, message, write_bag
from rosbags import rosbag1
from rosbags.rosbag2 import CompressionMode

from impatient_ros.replay import SourceError, open_source

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PACKERS = {'': bytes, 'zstd': zstd.compress, 'lz4': lz4.compress}


def numbers(source):
    """What the pixels of the frames are, which is their number."""
    return [frame.image.data[0] for frame in source.frames()]


def serialized(index):
    return bytes(ROS2.serialize_cdr(message(ROS2, IMAGE, index, START + index * PERIOD), IMAGE))


def text(value):
    return struct.pack('<I', len(value)) + value.encode()


def record(code, content):
    return struct.pack('<BQ', code, len(content)) + content


def read_or_refused(path):
    """The frames' numbers, or in which words the recording is refused."""
    try:
        return numbers(open_source(path))
    except SourceError as error:
        return str(error)


def write_mcap(
    path,
    *,
    times=range(6),
    chunks=2,
    packing='',
    kind=IMAGE,
    index=True,
    summary=True,
    statistics=True,
    encoding='ros2msg',
    size=None,
    message=serialized,
):
    """An MCAP file of images whose numbers are `times` (in periods).

    Every second message is of a topic with a schema of another kind. `chunks` 0: messages lie in none.
    `size`: what each chunk claims to hold.
    """
    schemas = b''.join(
        record(0x03, struct.pack('<H', key) + text(name) + text(encoding) + text(''))
        for key, name, encoding in ((1, kind, encoding), (2, 'odd.Odd', 'protobuf'))
    )
    channels = b''.join(
        record(0x04, struct.pack('<HH', key, key) + text(name) + text('cdr') + text(''))
        for key, name in ((1, '/eye'), (2, '/odd'))
    )
    groups = [list(times)]
    if chunks:
        share = -(-len(groups[0]) // chunks)
        groups = [groups[0][i : i + share] for i in range(0, len(groups[0]), share)]
    data = b'\x89MCAP0\r\n' + record(0x01, text('ros2') + text('')) + (b'' if chunks else schemas + channels)
    indexes = b''
    for group in groups:
        lone, indexed = b'', b''
        for number in group:
            at = START + number * PERIOD
            head = struct.pack('<IQQ', 0, at, at)
            lone += record(0x05, struct.pack('<H', 1) + head + message(number))
            lone += record(0x05, struct.pack('<H', 2) + head + b'odd')
        if not chunks:
            data += lone
            continue
        content = schemas + channels + lone
        packed = PACKERS[packing](content)
        first, last = START + min(group) * PERIOD, START + max(group) * PERIOD
        head = struct.pack('<QQQI', first, last, len(content) if size is None else size, zlib.crc32(content))
        chunk = record(0x06, head + text(packing) + struct.pack('<Q', len(packed)) + packed)
        if index:
            indexed = record(0x07, struct.pack('<HI', 1, 0)) + record(0x07, struct.pack('<HI', 2, 0))
        offsets = b''.join(struct.pack('<HQ', key, len(data) + len(chunk)) for key in (1, 2) if index)
        indexes += record(
            0x08,
            struct.pack('<QQQQ', first, last, len(data), len(chunk))
            + struct.pack('<I', len(offsets))
            + offsets
            + struct.pack('<Q', len(indexed))
            + text(packing)
            + struct.pack('<QQ', len(packed), len(content)),
        )
        data += chunk + indexed
    data += record(0x0F, bytes(4))
    start = len(data)
    if summary:
        data += schemas + channels + indexes
        if statistics:
            count = sum(map(len, groups))
            counts = struct.pack('<HQHQ', 1, count, 2, count)
            numbers = struct.pack('<QHIIIIQQ', 2 * count, 2, 2, 0, 0, chunks, 0, 0)
            data += record(0x0B, numbers + struct.pack('<I', len(counts)) + counts)
    data += record(0x02, struct.pack('<QQI', start if summary else 0, 0, 0)) + b'\x89MCAP0\r\n'
    path.write_bytes(data)
    return path


class TestMcap:
    @pytest.mark.parametrize('packing', PACKERS)
    @pytest.mark.parametrize(
        'shape',
        [
            {},
            {'index': False},
            {'statistics': False},
            {'index': False, 'statistics': False},
            {'summary': False},
            {'chunks': 0},
            {'chunks': 0, 'summary': False},
            {'encoding': ''},
            {'encoding': 'jsonschema'},
        ],
    )
    def test_it_is_read_with_or_without_index_summary_chunks_and_definitions(
        self, tmp_path, caplog, packing, shape
    ):
        source = open_source(write_mcap(tmp_path / 'x.mcap', packing=packing, **shape))
        assert source.length == 6
        assert numbers(source) == [0, 1, 2, 3, 4, 5]
        assert not caplog.records

    @pytest.mark.parametrize('shape', [{}, {'index': False}, {'summary': False}, {'chunks': 0}])
    def test_frames_come_in_the_order_of_their_times(self, tmp_path, shape):
        path = write_mcap(tmp_path / 'x.mcap', times=[0, 4, 2, 1, 5, 3], **shape)
        assert numbers(open_source(path)) == [0, 1, 2, 3, 4, 5]

    def test_cut_off_anywhere_it_is_read_up_to_there_or_refused_in_one_line(self, tmp_path, caplog):
        whole = write_mcap(tmp_path / 'whole.mcap', chunks=3).read_bytes()
        path = tmp_path / 'cut.mcap'
        found = set()
        for end in range(0, len(whole), 7):
            path.write_bytes(whole[:end])
            caplog.clear()
            read = read_or_refused(path)
            if isinstance(read, str):
                assert re.fullmatch('.*`mcap recover cut.mcap.*', read)
                continue
            assert read == list(range(len(read)))
            assert len(read) == 6 or 'mcap recover cut.mcap' in caplog.text
            found.add(len(read))
        assert found == {2, 4, 6}

    @pytest.mark.parametrize('packing', ['zstd', 'lz4'])
    def test_a_chunk_that_inflates_to_more_than_it_says_or_than_is_read_is_refused(self, tmp_path, packing):
        for size, why in ((100, 'does not match its size'), (1 << 40, 'at most')):
            path = write_mcap(tmp_path / 'x.mcap', packing=packing, size=size)
            with pytest.raises(SourceError, match=why):
                numbers(open_source(path))

    def test_a_message_that_inflates_without_end_is_refused(self, tmp_path):
        bomb = zstd.compress(bytes(1 << 29))
        path = write_mcap(tmp_path / 'x.mcap', times=[0], message=lambda number: bomb)
        with pytest.raises(SourceError, match=r'larger than 268435456 bytes'):
            numbers(open_source(path))

    def test_a_definition_of_any_length_is_refused_before_it_is_read(self, tmp_path):
        length = (1 << 29) + 1
        path = tmp_path / 'definition.mcap'
        path.write_bytes(b'\x89MCAP0\r\n' + struct.pack('<BQ', 0x03, length))
        os.truncate(path, 17 + length)  # a file with a hole: nothing is on the disk
        with pytest.raises(SourceError, match=f'takes {length} bytes, at most'):
            numbers(open_source(path))

    def test_messages_compressed_one_by_one_need_no_metadata(self, tmp_path):
        folder = write_bag(tmp_path / 'one', {'/eye': (IMAGE, 3)}, compression=CompressionMode.MESSAGE)
        assert numbers(open_source(next(folder.glob('*.mcap')))) == [0, 1, 2]

    @settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    @given(st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=9)), min_size=1, max_size=4))
    def test_damage_anywhere_is_said_and_raises_nothing_else(self, tmp_path, damages):
        path = write_mcap(tmp_path / 'x.mcap', packing='zstd')
        data = bytearray(path.read_bytes())
        for where, what in damages:
            at = int(where * (len(data) - 1))
            data[at : at + len(what)] = what
        path.write_bytes(data)
        read = read_or_refused(path)
        assert len(read) <= 6 or '\n' not in read


def change_metadata(folder, change):
    path = folder / 'metadata.yaml'
    document = yaml.safe_load(path.read_text())
    change(document['rosbag2_bagfile_information'])
    path.write_text(yaml.safe_dump(document))


class TestMetadata:
    @pytest.mark.parametrize(
        'change',
        [
            lambda d: d['topics_with_message_count'][0]['topic_metadata'].update(offered_qos_profiles='- 1'),
            lambda d: d['topics_with_message_count'][0]['topic_metadata'].update(type_description_hash='x'),
            lambda d: d.update(storage_identifier=''),
            lambda d: d.update(storage_identifier='sqlite3'),
            lambda d: d.update(version=99),
            lambda d: d.update(relative_file_paths=['elsewhere/bag.mcap']),
            lambda d: d.pop('duration'),
        ],
    )
    def test_what_only_describes_the_files_does_not_decide_whether_they_are_read(
        self, tmp_path, caplog, change
    ):
        folder = write_bag(tmp_path / 'bag', {'/eye': (IMAGE, 3)})
        change_metadata(folder, change)
        assert numbers(open_source(folder)) == [0, 1, 2]
        assert not caplog.records

    @pytest.mark.parametrize(
        ('change', 'said'),
        [
            (lambda d: d.update(relative_file_paths=['old_0.mcap']), 'old_0.mcap, missing: bag.mcap is read'),
            (lambda d: d.update(relative_file_paths=['bag.mcap', 'b.mcap']), 'b.mcap, missing: bag.mcap is'),
            (lambda d: d.pop('relative_file_paths'), 'all files beside it are read'),
            (
                lambda d: d['topics_with_message_count'][0].update(message_count=5),
                '3 .* read, 5 .* announced',
            ),
            (
                lambda d: d['topics_with_message_count'][0].update(message_count=2),
                '3 .* read, 2 .* announced',
            ),
        ],
    )
    def test_what_does_not_fit_the_files_is_said(self, tmp_path, caplog, change, said):
        folder = write_bag(tmp_path / 'bag', {'/eye': (IMAGE, 3)})
        change_metadata(folder, change)
        assert numbers(open_source(folder)) == [0, 1, 2]
        (only,) = caplog.messages
        assert re.search(said, only)

    @pytest.mark.parametrize('content', ['', '[', '- 1', 'a: *b', '\0', '{}'])
    def test_a_damaged_one_is_done_without(self, tmp_path, caplog, content):
        folder = write_bag(tmp_path / 'bag', {'/eye': (IMAGE, 3)})
        (folder / 'metadata.yaml').write_text(content)
        assert numbers(open_source(folder)) == [0, 1, 2]
        assert 'all files beside it are read' in caplog.text
        (folder / 'bag.mcap').unlink()
        with pytest.raises(SourceError, match=r'cannot be read as a bag: metadata\.yaml') as refused:
            open_source(folder)
        assert '\n' not in str(refused.value)

    def test_files_in_the_order_of_the_metadata_are_one_recording(self, tmp_path):
        folder = write_bag(tmp_path / 'bag', {'/eye': (IMAGE, 3)})
        write_mcap(folder / 'a.mcap', times=[7, 8])
        change_metadata(folder, lambda d: d.update(relative_file_paths=['bag.mcap', 'a.mcap']))
        assert numbers(open_source(folder)) == [0, 1, 2, 7, 8]


class TestNames:
    @pytest.mark.parametrize(
        'name', ['run.bag', 'run.mcap', 'run#3', 'run?x=1', 'run%41', 'run 3', 'run.db3']
    )
    @pytest.mark.parametrize('format', ['mcap', 'sqlite'])
    def test_a_folder_is_a_recording_whatever_its_name(self, tmp_path, name, format):
        other = write_bag(tmp_path / 'other', {'/eye': (IMAGE, 1)}, format='sqlite')
        shutil.copy(next(other.glob('*.db3')), tmp_path / 'run')  # another one, at the name without its end
        folder = write_bag(tmp_path / 'bag', {'/eye': (IMAGE, 3)}, format=format)
        suffix = {'mcap': '.mcap', 'sqlite': '.db3'}[format]
        (folder / f'bag{suffix}').rename(folder / f'{name}{suffix}')
        change_metadata(folder, lambda d: d.update(relative_file_paths=[f'{name}{suffix}']))
        folder = folder.rename(tmp_path / name)
        assert numbers(open_source(folder)) == [0, 1, 2]
        assert numbers(open_source(folder / f'{name}{suffix}')) == [0, 1, 2]

    @pytest.mark.parametrize('format', ['mcap', 'sqlite', 'bag'])
    def test_a_file_is_what_its_first_bytes_say(self, tmp_path, format):
        path = write_bag(tmp_path / 'x.bag', {'/eye': (IMAGE, 3)}, format=format)
        if path.is_dir():
            path = next(each for each in path.iterdir() if each.suffix in ('.mcap', '.db3'))
        for name in ('plain', 'x.mcap2', 'x.jpg', 'other.bag', 'other.db3'):
            assert numbers(open_source(shutil.copy(path, tmp_path / name))) == [0, 1, 2]


class TestCompressedFiles:
    @pytest.mark.parametrize('format', ['mcap', 'sqlite'])
    def test_one_that_rosbag2_compressed_is_read_by_itself(self, tmp_path, format):
        folder = write_bag(
            tmp_path / 'bag', {'/eye': (IMAGE, 3)}, format=format, compression=CompressionMode.FILE
        )
        (path,) = (each for each in folder.iterdir() if each.suffix == '.zstd')
        assert numbers(open_source(path)) == [0, 1, 2]
        (folder / 'metadata.yaml').unlink()
        assert numbers(open_source(folder)) == [0, 1, 2]

    def test_one_that_would_fill_the_disk_is_refused(self, tmp_path, monkeypatch):
        path = tmp_path / 'x.mcap.zstd'
        path.write_bytes(zstd.compress(bytes(1 << 24)))
        usage = shutil.disk_usage(tmp_path)
        monkeypatch.setattr(shutil, 'disk_usage', lambda _: usage._replace(free=(1 << 30) + (1 << 21)))
        with pytest.raises(SourceError, match=r'more room than .*`zstd -d`'):
            open_source(path)

    def test_another_way_of_packing_is_named_with_its_command(self, tmp_path):
        path = tmp_path / 'x.bag.gz'
        path.write_bytes(gzip.compress(b'#ROSBAG V2.0\n'))
        with pytest.raises(SourceError, match=r'packed: unpack it first with `gunzip x.bag.gz`'):
            open_source(path)


class TestDatabases:
    def test_definitions_that_are_empty_or_foreign_do_not_matter(self, tmp_path):
        folder = write_bag(
            tmp_path / 'bag',
            {'/eye': (IMAGE, 3), '/battery': ('somebody_msgs/msg/Battery', 1)},
            format='sqlite',
        )
        with sqlite3.connect(folder / 'bag.db3') as database:
            database.execute("UPDATE message_definitions SET encoding = '', encoded_message_definition = '?'")
        database.close()
        assert numbers(open_source(folder)) == [0, 1, 2]

    def test_what_a_running_recorder_has_only_logged_is_read(self, tmp_path):
        folder = write_bag(tmp_path / 'bag', {'/eye': (IMAGE, 3)}, format='sqlite')
        (folder / 'metadata.yaml').unlink()  # it comes last
        writer = sqlite3.connect(folder / 'bag.db3')
        writer.execute('PRAGMA journal_mode = WAL')
        writer.execute(
            'INSERT INTO messages (topic_id, timestamp, data) VALUES (1, ?, ?)',
            (START + 3 * PERIOD, serialized(3)),
        )
        writer.commit()
        assert (folder / 'bag.db3-wal').stat().st_size
        try:
            assert numbers(open_source(folder)) == [0, 1, 2, 3]
        finally:
            writer.close()

    def test_reading_leaves_nothing_behind(self, tmp_path):
        folder = write_bag(tmp_path / 'bag', {'/eye': (IMAGE, 3)}, format='sqlite')
        with sqlite3.connect(folder / 'bag.db3') as database:
            database.execute('PRAGMA journal_mode = WAL')
        database.close()
        before = sorted(folder.iterdir())
        assert numbers(open_source(folder)) == [0, 1, 2]
        assert sorted(folder.iterdir()) == before

    def test_a_message_larger_than_any_picture_is_not_read(self, tmp_path):
        folder = write_bag(tmp_path / 'bag', {'/eye': (IMAGE, 1)}, format='sqlite')
        with sqlite3.connect(folder / 'bag.db3') as database:
            database.execute('UPDATE messages SET data = zeroblob(?)', ((1 << 28) + 1,))
        database.close()
        with pytest.raises(SourceError, match='takes more than 268435456 bytes'):
            numbers(open_source(folder))

    ENDLESS = (
        'WITH RECURSIVE n(id) AS (VALUES (1) UNION ALL SELECT id + 1 FROM n) SELECT id, id AS topic_id FROM n'
    )

    @pytest.mark.parametrize(
        'made',
        [
            'CREATE TABLE things (id)',
            'CREATE TABLE messages (id); CREATE TABLE topics (id)',
            f'CREATE TABLE topics (id, name, type, serialization_format); CREATE VIEW messages AS {ENDLESS}',
        ],
        ids=['others', 'columns', 'endless'],
    )
    def test_another_database_is_refused_at_once(self, tmp_path, made):
        with sqlite3.connect(tmp_path / 'x.db3') as database:
            database.executescript(made)
        database.close()
        with pytest.raises(SourceError, match=r'not a database of rosbag2.*sqlite3 x.db3 .recover'):
            open_source(tmp_path / 'x.db3')


def test_one_that_ros1_is_still_writing_names_the_command_that_helps(tmp_path):
    path = write_bag(tmp_path / 'x.bag', {'/eye': (IMAGE, 3)}, format='bag')
    data = bytearray(path.read_bytes())
    at = data.index(b'index_pos=') + len(b'index_pos=')
    data[at : at + 8] = bytes(8)  # written when the recorder ends
    path = path.with_name('x.bag.active')
    path.write_bytes(data)
    with pytest.raises(SourceError, match=r'not indexed.*`rosbag reindex x.bag.active`'):
        open_source(path)


@pytest.mark.parametrize('packing', list(rosbag1.Writer.CompressionFormat))
def test_a_chunk_of_ros1_that_inflates_without_end_is_refused(tmp_path, monkeypatch, packing):
    path = write_bag(tmp_path / 'x.bag', {'/eye': (IMAGE, 3)}, format='bag', compression=packing)
    assert numbers(open_source(path)) == [0, 1, 2]
    monkeypatch.setattr('impatient_ros.replay.ros1_file.LARGEST_CHUNK', 100)
    with pytest.raises(SourceError, match=r'larger than 100 bytes'):
        numbers(open_source(path))


@pytest.mark.parametrize('days', [-40 * 365, 5 * 365])
def test_the_replay_goes_on_where_the_recorders_clock_was_set(tmp_path, caplog, days):
    jump = days * 86_400 * 10**9 // PERIOD
    write_mcap(tmp_path / 'a.mcap', times=[0, 1], message=lambda number: serialized(0))
    write_mcap(tmp_path / 'b.mcap', times=[jump, jump + 1], message=lambda number: serialized(1))
    information = {'relative_file_paths': ['a.mcap', 'b.mcap'], 'topics_with_message_count': []}
    (tmp_path / 'metadata.yaml').write_text(yaml.safe_dump({'rosbag2_bagfile_information': information}))
    frames = list(open_source(tmp_path).frames())
    assert [frame.image.data[0] for frame in frames] == [0, 0, 1, 1]
    assert [frame.time for frame in frames] == pytest.approx([0, 0.05, 0.05, 0.1])
    (said,) = caplog.messages
    assert "the recorder's clock jumps by" in said


def test_a_time_that_ros_cannot_say_is_refused(tmp_path):
    path = write_mcap(tmp_path / 'x.mcap', times=[10**11], message=lambda number: serialized(0))
    with pytest.raises(SourceError, match=r'no time of ROS 2.*after 0 of 1 frames'):
        numbers(open_source(path))


def test_a_recording_of_video_alone_says_what_to_do(tmp_path):
    path = write_mcap(tmp_path / 'x.mcap', kind='foxglove_msgs/msg/CompressedVideo')
    with pytest.raises(SourceError, match=r'holds no sensor_msgs/Image.*/eye is a video.*republish'):
        open_source(path)


@pytest.mark.parametrize('make', [os.mkfifo, lambda path: path.symlink_to('/dev/zero')])
def test_what_is_no_file_is_refused_at_once(tmp_path, make):
    make(tmp_path / 'x.mcap')
    with pytest.raises(SourceError, match='neither a file nor a folder'):
        open_source(tmp_path / 'x.mcap')


def test_a_dangling_link_says_where_it_leads(tmp_path):
    (tmp_path / 'x.mcap').symlink_to('/nowhere/y.mcap')
    with pytest.raises(SourceError, match=r'does not exist \(a link to /nowhere/y.mcap\)'):
        open_source(tmp_path / 'x.mcap')
