"""What the exits of a trained network are worth on pictures."""
