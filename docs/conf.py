"""How Sphinx builds the documentation site (`make docs`, into build/docs); no network, no import of ROS.

The source folder is the whole clone, so that README.md and the other texts stand where people look for them
and their relative links hold both there and on the site.
"""

import re
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path[:0] = [str(DOCS), str(ROOT)]

import google_docstrings  # noqa: E402

project = 'impatient_ros'
author = 'The impatient_ros developers'
release = re.search(r'<version>(.+?)</version>', (ROOT / 'package.xml').read_text())[1]

extensions = ['myst_parser', 'autodoc2', 'parameter_reference']
root_doc = 'README'
include_patterns = ['*.md', 'CHANGELOG.rst', '**/README.md', 'docs/**']
# Sphinx walks through all folders but these.
exclude_patterns = [
    '.*',
    'build',
    'install',
    'log',
    'runs',
    '**/__pycache__',
    '**/.pytest_cache',
    'docs/contents.md',
]

# Docstrings are Markdown, read without importing anything.
autodoc2_packages = ['impatient_ros', 'training']
autodoc2_output_dir = 'docs/api'
autodoc2_render_plugin = 'google_docstrings.Renderer'
# A module's page has what is in its __all__; a package's page has its modules.
autodoc2_module_all_regexes = [
    '.'.join(file.relative_to(ROOT).with_suffix('').parts)
    for package in autodoc2_packages
    for file in (ROOT / package).rglob('*.py')
    if file.name != '__init__.py' and '\n__all__ =' in file.read_text()
]
suppress_warnings = [
    'autodoc2.all_resolve',  # it does not see `A, B = ...`; ruff checks __all__
    'ref.python',  # a name that two modules export: the link goes to the first
]
autodoc2_hidden_objects = {'private', 'dunder', 'inherited'}
python_maximum_signature_line_length = 100
python_use_unqualified_type_names = True
add_module_names = False

myst_enable_extensions = ['fieldlist']
myst_disable_syntax = ['html_inline']  # <camera> in a text is a placeholder, not a tag
myst_heading_anchors = 3
highlight_language = 'none'  # indented blocks are commands; Python is fenced as such

html_theme = 'sphinx_rtd_theme'
html_title = f'impatient_ros {release}'
templates_path = ['_templates']
html_additional_pages = {'index': 'index.html'}
html_static_path = ['_static']
html_css_files = ['site.css']
html_show_sourcelink = False
html_show_copyright = False


def add_contents(_app, name, source):
    """The site's table of contents hangs on its first page, README.md, where the host does not show it."""
    if name == root_doc:
        source[0] += '\n' + (DOCS / 'contents.md').read_text()


def setup(app):
    google_docstrings.stay_in(autodoc2_packages)
    app.connect('source-read', add_contents)
