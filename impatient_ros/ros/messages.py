"""The messages that the node publishes, made from plain values, and read back."""

import array
import logging
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from vision_msgs.msg import Classification, LabelInfo, ObjectHypothesis, VisionClass

from impatient_ros.images.serialized import HeaderView
from impatient_ros.perception.diagnostics import Status
from impatient_ros.perception.frame_record import FrameRecord, Outcome
from impatient_ros.perception.sending import UNKNOWN

__all__ = [
    'classification',
    'diagnostic_status',
    'diagnostics_message',
    'frame_status',
    'header_message',
    'image_message',
    'label_info',
    'level_of',
    'nanoseconds',
    'parse_frame_status',
]


def nanoseconds(stamp: Time) -> int:
    """A stamp as whole nanoseconds."""
    return stamp.sec * 1_000_000_000 + stamp.nanosec


def header_message(header: HeaderView) -> Header:
    """A header that was read from a serialised message."""
    return Header(stamp=Time(sec=header.sec, nanosec=header.nanosec), frame_id=header.frame_id)


def classification(
    header: Header, labels: Sequence[str], probabilities: Sequence[float] | np.ndarray, top_k: int
) -> Classification:
    """The `top_k` most probable labels, best first, of equals the first one; no probabilities, no results."""
    scores = np.asarray(probabilities, dtype=np.float64)
    best = np.argsort(-scores, kind='stable')[:top_k]
    results = [ObjectHypothesis(class_id=labels[index], score=float(scores[index])) for index in best]
    return Classification(header=header, results=results)


def label_info(labels: Sequence[str], stamp: Time) -> LabelInfo:
    """Which class index means which label."""
    classes = [VisionClass(class_id=index, class_name=label) for index, label in enumerate(labels)]
    return LabelInfo(header=Header(stamp=stamp), class_map=classes)


def frame_status(header: Header, record: FrameRecord, node: str = 'perception') -> DiagnosticArray:
    """How one frame ended, for the camera's frame_status topic."""
    status = diagnostic_status(
        f'{node}: {record.camera}', level_of(record), _sentence(record), record.to_values(), record.camera
    )
    return DiagnosticArray(header=header, status=[status])


def parse_frame_status(message: DiagnosticArray) -> FrameRecord:
    """The record that `frame_status` was made from, but for label and confidence, which it does not carry.

    Raises `ValueError` where the message is none of them.
    """
    if len(message.status) != 1:
        raise ValueError(f'no frame status: it has {len(message.status)} entries instead of one')
    status = message.status[0]
    values = {pair.key: pair.value for pair in status.values}
    return FrameRecord.from_values(status.hardware_id, nanoseconds(message.header.stamp) * 1e-9, values)


def level_of(record: FrameRecord) -> bytes:
    """OK: answered in time. ERROR: tried, no answer in time. WARN: the rest, and answers to faulty input."""
    if record.miss:
        return DiagnosticStatus.ERROR
    if record.outcome is Outcome.answered and not record.fault:
        return DiagnosticStatus.OK
    return DiagnosticStatus.WARN


def diagnostic_status(
    name: str, level: bytes, message: str, values: Mapping[str, str], hardware_id: str = ''
) -> DiagnosticStatus:
    """A status with values by key."""
    pairs = [KeyValue(key=key, value=value) for key, value in values.items()]
    return DiagnosticStatus(name=name, level=level, message=message, hardware_id=hardware_id, values=pairs)


def diagnostics_message(statuses: Iterable[Status], stamp: Time) -> DiagnosticArray:
    """The /diagnostics message; anything above a warning is an ERROR."""
    return DiagnosticArray(
        header=Header(stamp=stamp),
        status=[
            diagnostic_status(each.name, _level(each.level), each.text, each.values, each.hardware_id)
            for each in statuses
        ],
    )


def image_message(rgb: np.ndarray, header: Header) -> Image:
    """An rgb8 image of uint8 [height, width, 3]."""
    height, width, _ = rgb.shape
    message = Image(header=header, height=height, width=width, encoding='rgb8', step=3 * width)
    # An array.array is taken over as it is; of an ndarray every byte would be checked in Python.
    data = array.array('B')
    data.frombytes(np.ascontiguousarray(rgb).data)
    message.data = data
    return message


def _level(severity: int) -> bytes:
    """A severity of `logging` as a level of DiagnosticStatus."""
    if severity > logging.WARNING:
        return DiagnosticStatus.ERROR
    return DiagnosticStatus.WARN if severity == logging.WARNING else DiagnosticStatus.OK


def _sentence(record: FrameRecord) -> str:
    """What became of the frame, for people."""
    parts = [record.outcome.value]
    if record.path:
        parts[0] += f' ({record.path})'
    parts += [UNKNOWN] if record.unknown else []
    if record.tried and record.slack is not None:
        left = 'to spare' if record.slack >= 0 else 'too late'
        parts.append(f'{abs(record.slack) * 1e3:.1f} ms {left}')
    parts += [record.reason] if record.reason else []
    parts += [record.fault] if record.fault else []
    return ', '.join(parts)
