"""Models to try and test on: a catalogue of public ones, and four small ones of our own."""
