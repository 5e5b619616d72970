"""How recordings are told apart from other files: by their first bytes, and by their names."""

__all__ = ['COMPANIONS', 'MAGIC_MCAP', 'MAGIC_ROS1', 'MAGIC_SQLITE', 'MAGIC_ZSTD', 'METADATA', 'SUFFIXES']

MAGIC_MCAP = b'\x89MCAP0\r\n'
MAGIC_ROS1 = b'#ROSBAG V'
MAGIC_SQLITE = b'SQLite format 3\0'
MAGIC_ZSTD = b'\x28\xb5\x2f\xfd'  # rosbag2 compresses files or messages when it is told to

METADATA = 'metadata.yaml'
# .active while ROS 1 records, .zstd where rosbag2 compressed the file
SUFFIXES = ('.mcap', '.db3', '.bag', '.active', '.zstd', '.zst')
COMPANIONS = ('-wal', '-shm', '-journal')
"""What SQLite keeps beside a database that is being written."""
