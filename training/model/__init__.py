"""What is trained, and how one step of training goes: networks and the Lightning module."""
