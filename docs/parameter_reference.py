"""The directive `{parameters}`: every parameter of the node, from the dataclasses that define them."""

from sphinx.util.docutils import SphinxDirective

from impatient_ros.perception import settings
from impatient_ros.perception.parameter_definition import Definition
from impatient_ros.perception.parameter_values import camera_definitions, node_definitions

CAMERA = '<camera>'
CHANGES = {
    '': 'any time; counts from the next frame',
    'active': 'while the node is inactive (lifecycle: deactivate, set, activate)',
    'configured': 'while no model is loaded (lifecycle: cleanup, set, configure)',
}


def node_parameters() -> str:
    """The node's own parameters as Markdown, one `confval` each."""
    return '\n'.join(_entry(name, each) for name, each in node_definitions().items())


def camera_parameters() -> str:
    """One camera's parameters as Markdown; those that only stand in for the node's own as a list of links."""
    entries, overrides = [], []
    for name, each in camera_definitions(CAMERA).items():
        if each.default is None:
            of_node = name.removeprefix(f'cameras.{CAMERA}.')
            overrides.append(f'- `{name}`: stands in for {{confval}}`{of_node}`')
        else:
            entries.append(_entry(name, each))
    return '\n'.join(
        [*entries, 'Not set unless a file or a command sets them; same limits:', '', *overrides, '']
    )


def _entry(name: str, each: Definition) -> str:
    changes = 'only at start-up' if each.read_only else CHANGES[each.locked]
    return f"""```{{confval}} {name}
:default: `{_yaml(each.default)}`

{each.description}.

Write {each.constraint}.
Changes: {changes}.
```
"""


def _yaml(value: object) -> str:
    """The value as a parameter file has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f'[{", ".join(map(str, value))}]'
    return str(value) if value != '' else "''"


class Parameters(SphinxDirective):
    """`{parameters} node` or `{parameters} camera`."""

    required_arguments = 1

    def run(self):
        self.env.note_dependency(settings.__file__)
        text = {'node': node_parameters, 'camera': camera_parameters}[self.arguments[0]]()
        return self.parse_text_to_nodes(text)


def setup(app):
    """Called by Sphinx."""
    app.add_directive('parameters', Parameters)
    return {'parallel_read_safe': True}
