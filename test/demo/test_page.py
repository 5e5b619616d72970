"""The page of a run: whole, with everything in it, and true to the frames."""

import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from demo.rows import LADDER, MS, record

from impatient_ros.demo.charts import paths_by_budget, state, timeline
from impatient_ros.demo.display import Setting
from impatient_ros.demo.frame_log import FrameLog
from impatient_ros.demo.page import page
from impatient_ros.demo.plain_network import PlainNetwork
from impatient_ros.perception.frame_record import Outcome

FORM = (Path(__file__).parents[2] / 'config' / 'demo' / 'page.html').read_text()
SETTING = Setting(LADDER, (0.004, 0.011), LADDER.paths[1], 'tiny <1 thread>')
# outcome, path taken, path planned, budget and time in the node in ms, loaded, answer; 1 ms passed before
FRAMES = [
    (Outcome.answered, 0, 0, 5.2, 3.0, False, 'hat'),
    (Outcome.answered, 2, 3, 11.0, 6.0, False, 'shoes'),
    (Outcome.late, 1, 1, 6.0, 7.0, True, 'hat'),
    (Outcome.missed, None, 0, 5.2, None, True, None),
    (Outcome.infeasible, None, None, 4.0, None, False, None),
]


@pytest.fixture
def frame_log():
    frame_log = FrameLog(PlainNetwork(LADDER, LADDER.paths[1], {'a.jpg': 'hat'}))
    for number, (outcome, taken, planned, budget, elapsed_ms, loaded, answer) in enumerate(FRAMES, 1):
        stamp = number * 100 * MS
        left = 1e-3 * (budget - 1)
        elapsed = None if elapsed_ms is None else 1e-3 * elapsed_ms
        slack = None if elapsed is None else left - elapsed
        frame_log.add_frame(
            stamp, number, 'a.jpg', deadline_ns=stamp + round(budget * MS), truth='hat', loaded=loaded
        )
        status = record(outcome, taken, planned, budget=left, slack=slack, elapsed=elapsed)
        frame_log.add_status(stamp, status)
        if answer:
            frame_log.add_answer(stamp, answer, 0.9)
    return frame_log


def parts(svg, path):
    return ElementTree.fromstring(svg).findall(path)


def text_page(frame_log, **values):
    given = {'source': '12 <pictures>', 'setting': SETTING, 'pictures': {'a.jpg': b'jpeg'}} | values
    return page(FORM, summary=frame_log.summary(), rows=frame_log.latest(100), **given)


class Reader(HTMLParser):
    """Counts elements; fails where they are not closed in turn."""

    EMPTY = ('meta', 'img')

    def __init__(self):
        super().__init__()
        self.open, self.count, self.addresses = [], {}, []

    def handle_starttag(self, tag, attributes):
        self.count[tag] = self.count.get(tag, 0) + 1
        self.addresses += [value for name, value in attributes if name in ('src', 'href')]
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attributes):
        self.count[tag] = self.count.get(tag, 0) + 1


def test_the_page_needs_nothing_from_elsewhere_and_every_element_is_closed(frame_log):
    reader = Reader()
    text = text_page(frame_log)
    reader.feed(text)
    assert reader.open == []
    assert reader.count['svg'] == 2
    assert reader.addresses == ['data:image/jpeg;base64,anBlZw==']
    assert 'url(' not in text


def test_the_page_says_what_came_out(frame_log):
    text = text_page(frame_log)
    assert (
        '<h1>in time and right: impatient 1 of 5, the best plain network (128 px) 2 of 5, estimated' in text
    )
    assert 'budgets from image to answer 4.0 ms to 11.0 ms' in text
    assert '5 frames published: answered 2, late 1, missed 1, infeasible 1, slack p50 +1.2 ms' in text
    assert re.search(r'<th>128 px</th><td>2.00</td><td>5.00</td><td>60.0</td><td>0</td>', text)
    assert 'class="chosen"><th>128 px' in text
    rows = re.findall(r'<tr><th>(whole run|quiet|a busy [^<]*)</th>.*?(\d of \d).*?(\d of \d)', text)
    assert rows == [
        ('whole run', '1 of 5', '2 of 5'),
        ('quiet', '1 of 3', '2 of 3'),
        ('a busy process on each core', '0 of 2', '0 of 2'),
    ]


def test_each_picture_has_its_answers_cheapest_path_first(frame_log):
    listed = re.findall(r'<li class="(\w+)">([^<]*)</li>', text_page(frame_log))
    assert listed == [
        ('none', 'infeasible'),
        ('none', 'missed'),
        ('right', '96 px · hat'),
        ('late', '128 px · hat'),
        ('wrong', '160 px · shoes'),
    ]


def test_text_from_outside_is_escaped(frame_log):
    frame_log.add_frame(1, 9, '<script>', deadline_ns=9 * MS)
    frame_log.add_status(1, record(taken=0, budget=0.005, elapsed=0.003, slack=0.002))
    frame_log.add_answer(1, '<img src=x>', 0.5)
    text = text_page(frame_log, pictures={'<script>': b'x'})
    assert '<script>' not in text
    assert '<img src=x>' not in text
    assert '12 &lt;pictures&gt;' in text
    assert 'tiny &lt;1 thread&gt;' in text


def test_the_page_of_a_long_run_says_that_it_draws_the_end(frame_log):
    short = page(
        FORM,
        source='s',
        setting=SETTING,
        summary=frame_log.summary(),
        rows=frame_log.latest(2),
        pictures={},
    )
    assert 'drawn: the last 2 frames' in short
    assert 'drawn: ' not in text_page(frame_log)


def test_a_frame_is_right_wrong_late_or_without_an_answer(frame_log):
    assert [state(row) for row in frame_log.latest(5)] == ['right', 'wrong', 'late', 'none', 'none']


def test_the_timeline_draws_budget_path_and_slack_of_each_frame(frame_log):
    svg = timeline(frame_log.latest(5), LADDER)
    frames = parts(svg, 'g')
    assert [frame.get('class') for frame in frames] == ['right', 'wrong', 'late', 'none', 'none']
    assert [len(frame.findall('rect')) for frame in frames] == [2, 2, 2, 0, 0]  # what was used, and the slack
    assert all(len(frame.findall("line[@class='budget']")) == 1 for frame in frames)
    # The second went 160 px where 224 were planned: dot below ring. y grows downwards.
    ring = frames[1].find("circle[@class='ring']")
    dots = [circle for circle in frames[1].findall('circle') if circle.get('class') is None]
    assert float(dots[0].get('cy')) > float(ring.get('cy'))
    assert len(frames[3].findall("circle[@class='ring']")) == 1
    assert frames[4].findall('circle') == []
    (load,) = parts(svg, "rect[@class='load']")
    centres = [float(frame.find('line').get('x1')) for frame in frames]
    left, right = float(load.get('x')), float(load.get('x')) + float(load.get('width'))
    assert [left < x < right for x in centres] == [False, False, True, True, False]


def test_the_shares_of_the_paths_fill_each_class_of_budgets(frame_log):
    svg = paths_by_budget(frame_log.latest(5), LADDER)
    bars = [bar for bar in parts(svg, 'rect') if bar.find('title') is not None]
    heights = {}
    for bar in bars:
        heights[bar.get('x')] = heights.get(bar.get('x'), 0.0) + float(bar.get('height'))
    assert list(heights.values()) == [pytest.approx(200.0)] * 4  # 4, 5.2 (two frames), 6 and 11 ms
    assert sorted(bar.find('title').text for bar in bars) == [
        '160 px: 1 of 1',
        '96 px: 1 of 2',
        'no answer in time: 1 of 1',
        'no answer in time: 1 of 1',
        'no answer in time: 1 of 2',
    ]


@pytest.mark.parametrize('count', [0, 1])
def test_a_run_of_no_or_one_frame_is_drawn_too(frame_log, count):
    rows = frame_log.latest(count)
    assert len(parts(timeline(rows, LADDER), 'g')) == count
    assert parts(paths_by_budget(rows, LADDER), 'rect')
