"""Where replayed camera frames come from: bags, videos, folders of pictures, webcams.

    from impatient_ros.replay import open_source
    with open_source('flight.mcap', topic='/cam0/image_raw') as source:
        for frame in source.frames():
            frame.time, frame.stamp_ns, frame.image    # RawFrame or CompressedFrame

Imports neither ROS nor torch: messages of bags are deserialised by `rosbags`, the rest is read with OpenCV.
"""

from impatient_ros.replay.frame import CompressedFrame, RawFrame, Source, SourceError, SourceFrame
from impatient_ros.replay.opening import open_source

__all__ = ['CompressedFrame', 'RawFrame', 'Source', 'SourceError', 'SourceFrame', 'open_source']
