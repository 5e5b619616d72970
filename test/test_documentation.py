"""The texts that people read: links lead somewhere, and the page of parameters says what the code says."""

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from impatient_ros.perception.parameter_values import camera_definitions, node_definitions

ROOT = Path(__file__).resolve().parent.parent
BUILT = {'docs/api/index.rst'}  # made by `make docs`
REMOTE = re.compile(
    r'<(?:script|img|source|iframe)[^>]*\bsrc="(?:https?:)?//|<link[^>]*\bhref="(?:https?:)?//'
)


def texts():
    """The Markdown files of the clone, without what is built or installed in it."""
    unwanted = {'build', 'install', 'log', 'runs'}
    for file in ROOT.rglob('*.md'):
        parts = file.relative_to(ROOT).parts
        built = parts[:2] == ('docs', 'api')
        if not built and not any(part in unwanted or part.startswith('.') for part in parts):
            yield file


def links(text):
    """Targets of links and pictures outside of code."""
    text = re.sub(r'^(```.*?^```| {4}[^\n]*)$', '', text, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r'\]\(([^)\s]+)\)', re.sub(r'`[^`\n]*`', '', text))


def test_links_are_found_in_prose_and_not_in_code():
    text = 'see [a](a.md#part), ![b](b.png) and `[c](c.md)`\n\n    [d](d.md)\n\n```\n[e](e.md)\n```\n'
    text += '[f\ng](f.md)\n'
    assert links(text) == ['a.md#part', 'b.png', 'f.md']


@pytest.mark.parametrize('file', list(texts()), ids=lambda file: str(file.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file(file):
    targets = [link.partition('#')[0] for link in links(file.read_text()) if not re.match(r'[a-z]+:', link)]
    found = {target: (file.parent / target).resolve() for target in targets if target}
    assert [
        target
        for target, path in found.items()
        if not path.exists() and str(path.relative_to(ROOT)) not in BUILT
    ] == []


@pytest.fixture(scope='module')
def reference():
    """docs/parameter_reference.py."""
    pytest.importorskip('sphinx', reason='needs Sphinx (requirements/development.txt)')
    place = ROOT / 'docs' / 'parameter_reference.py'
    specification = importlib.util.spec_from_file_location('parameter_reference', place)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def entries(markdown):
    """Name -> text of each `confval`."""
    return dict(re.findall(r'```\{confval\} (\S+)\n(.*?)```', markdown, flags=re.DOTALL))


def test_every_parameter_of_the_node_is_described_with_default_meaning_and_limits(reference):
    described = entries(reference.node_parameters())
    assert list(described) == list(node_definitions())
    for name, definition in node_definitions().items():
        assert definition.description in described[name]
        assert definition.constraint in described[name]
    assert ':default: `0.1`' in described['budget.fixed']
    assert ":default: `''`" in described['model']
    assert ':default: `true`' in described['autostart']
    assert ':default: `[camera]`' in described['camera_names']


def test_every_parameter_of_a_camera_is_described_or_refers_to_the_nodes_own(reference):
    markdown = reference.camera_parameters()
    described = entries(markdown)
    for name in camera_definitions('<camera>'):
        own = name.removeprefix('cameras.<camera>.')
        assert name in described or f'- `{name}`: stands in for {{confval}}`{own}`' in markdown
    assert ':default: `/<camera>/image_raw`' in described['cameras.<camera>.topic']


def test_a_parameter_says_when_it_can_change(reference):
    described = entries(reference.node_parameters())
    assert 'only at start-up' in described['autostart']
    assert 'inactive' in described['camera_names']
    assert 'no model is loaded' in described['model']
    assert 'next frame' in described['budget.fixed']


@pytest.mark.slow  # `make docs` has built the site already; this one is built from nothing, in a minute
@pytest.mark.timeout(600)
def test_the_site_shows_every_parameter_and_fetches_nothing(tmp_path):
    pytest.importorskip('sphinx', reason='needs Sphinx (requirements/development.txt)')
    source, site = tmp_path / 'clone', tmp_path / 'site'
    left_out = shutil.ignore_patterns(
        '.*', 'build', 'install', 'log', 'runs', '__pycache__', 'api', '*.egg-info'
    )
    shutil.copytree(ROOT, source, ignore=left_out)
    command = [sys.executable, '-m', 'sphinx', '--quiet', '--fail-on-warning', '-c', 'docs', '.', str(site)]
    built = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    page = (site / 'docs' / 'parameters.html').read_text()
    assert [name for name in node_definitions() if f'id="confval-{name}"' not in page] == []
    assert (
        'AnytimeClassifier'
        in (site / 'docs/api/impatient_ros/impatient_ros.anytime.classifier.html').read_text()
    )
    pages = list(site.rglob('*.html'))
    assert len(pages) > 50
    assert [str(each.relative_to(site)) for each in pages if REMOTE.search(each.read_text())] == []
    assert 'README.html' in (site / 'index.html').read_text()
