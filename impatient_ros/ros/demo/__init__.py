"""The demo: the perception node and a replay camera, and live what is answered per frame."""
