"""Docstrings as this project writes them: Markdown with Google's sections (Args, Raises and so on)."""

import re

from astroid.exceptions import AstroidImportError
from astroid.manager import AstroidManager
from autodoc2.render.myst_ import MystRenderer
from myst_parser.parsers.sphinx_ import MystParser
from sphinx.ext.napoleon import Config, GoogleDocstring

FIELD = re.compile(r'^:(?:ivar|param|raises) [^:]+:', re.MULTILINE)
SECTION = re.compile(r'^(Args|Attributes|Raises|Returns|Yields):$', re.MULTILINE)


class Parser(MystParser):
    """Markdown, after the sections became field lists."""

    def parse(self, inputstring, document):
        text = str(GoogleDocstring(inputstring, Config(napoleon_use_ivar=True)))
        # Several names before one colon: Sphinx would take all but the last for its type.
        super().parse(FIELD.sub(lambda field: field[0].replace(', ', ','), text), document)


class Renderer(MystRenderer):
    """Pages of the modules. Only docstrings with sections get `Parser`: making a parser takes long."""

    def get_doc_parser(self, full_name):
        item = self.get_item(full_name)
        return __name__ if item and SECTION.search(item['doc']) else ''

    def render_data(self, item):
        """autodoc2 writes the value None where there is none, as in a dataclass's field without default."""
        lines = list(super().render_data(item))
        if item.get('value') is None and ':value: >' in lines:
            at = lines.index(':value: >')
            del lines[at : at + 2]
        return lines

    render_attribute = render_data


def stay_in(packages):
    """Keep astroid from reading torch and all that it imports, which takes 13 s and no page needs."""
    read = AstroidManager.ast_from_module_name

    def read_ours(self, modname, *args, **kwargs):
        if modname.split('.')[0] not in (*packages, 'abc', 'builtins'):
            raise AstroidImportError(f'{modname} is not read', modname=modname)
        return read(self, modname, *args, **kwargs)

    AstroidManager.ast_from_module_name = read_ours
