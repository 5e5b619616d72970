"""Where exits go under a budget distribution: accuracies of all cut points, estimated, and the best set."""
