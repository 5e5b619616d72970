"""Lists where a classifier can be cut, and where its exits would go."""

import argparse
import sys
from collections.abc import Sequence

from impatient_ros.network import families
from impatient_ros.network.assembly import image_sides
from impatient_ros.network.cut_points import CutPoint, CutPoints, find_cut_points
from impatient_ros.network.exit_placement import place_exits
from impatient_ros.network.heads import plan_heads
from impatient_ros.standard_output import run_command

__all__ = ['main']


def main(arguments: Sequence[str] | None = None) -> int:
    """List the cut points of a classifier and where its exits go."""
    parser = argparse.ArgumentParser(prog='python -m impatient_ros.network', description=main.__doc__)
    parser.add_argument('name', help='a classifier of the family, such as resnet18')
    parser.add_argument(
        '--family', default='torchvision', help=f'one of {", ".join(families.names())} (default: %(default)s)'
    )
    parser.add_argument('--image-size', type=int, default=224, help='pixels (default: %(default)s)')
    parser.add_argument('--exits', type=int, default=5, help='how many (default: %(default)s)')
    parser.add_argument('--classes', type=int, default=1000, help='how many (default: %(default)s)')
    given = parser.parse_args(arguments)
    try:
        size = image_sides(given.image_size)
        module = families.find(given.family).build(
            given.name, classes=given.classes, image_size=size, options={}, empty=True
        )
        points = find_cut_points(module, (3, *size))
        places = place_exits(points, given.exits)
        heads = plan_heads(places[:-1], points.classes, points.macs, size, final=points.final)
    except ValueError as error:
        sys.stderr.write(f'{error}\n')
        return 2
    sys.stdout.write(_listing(points, places, [head.macs for head in heads]))
    return 0


def _listing(points: CutPoints, places: Sequence[CutPoint], heads: Sequence[int]) -> str:
    macs = [*heads, points.macs - places[-1].macs]
    lines = [f'{"cut point":<44}{"shape":<18}{"layout":<8}{"cost":>7}']
    for point in points.points:
        shape = 'x'.join(str(side) for side in point.shape)
        lines.append(f'{point.name:<44}{shape:<18}{point.layout:<8}{point.cost_share:>7.1%}')
        if point in places:
            number = places.index(point)
            lines[-1] += f'  exit {number + 1} of {len(places)}, its head {macs[number] / points.macs:.2%}'
    lines.append(f'{points.macs / 1e6:.1f} million multiply-accumulates, {points.classes} classes')
    return '\n'.join(lines) + '\n'


if __name__ == '__main__':
    run_command(main)
