"""The staged network, in torch: a classifier cut into stages, with an exit after each."""

from impatient_ros.network.cut_points import CutError, CutPoint
from impatient_ros.network.families import UnknownFamilyError
from impatient_ros.network.model import ImpatientNetwork

__all__ = ['CutError', 'CutPoint', 'ImpatientNetwork', 'UnknownFamilyError']
