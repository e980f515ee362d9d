"""The benchmarker: models timed side by side, with an interval for the ratio and a verdict."""
