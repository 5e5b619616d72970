"""The runtime: camera frames in, the best answer by each frame's deadline out."""
